// Reads a binlog with go-mysql, every column of every row decoded, and prints how many rows it had.
//
// usage: peer-go-mysql PORT FILE END_FILE END_OFFSET
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strconv"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: peer-go-mysql PORT FILE END_FILE END_OFFSET")
	}
	port, err := strconv.ParseUint(os.Args[1], 10, 16)
	if err != nil {
		log.Fatal(err)
	}
	end, err := strconv.ParseUint(os.Args[4], 10, 32)
	if err != nil {
		log.Fatal(err)
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 7002,
		Flavor:   "mysql",
		Host:     "127.0.0.1",
		Port:     uint16(port),
		User:     "root",
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	streamer, err := syncer.StartSync(mysql.Position{Name: os.Args[2], Pos: 4})
	if err != nil {
		log.Fatal(err)
	}
	rows, at := 0, os.Args[2]
	for {
		event, err := streamer.GetEvent(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		switch data := event.Event.(type) {
		case *replication.RowsEvent:
			if event.Header.EventType == replication.UPDATE_ROWS_EVENTv2 {
				rows += len(data.Rows) / 2
			} else {
				rows += len(data.Rows)
			}
		case *replication.RotateEvent:
			at = string(data.NextLogName)
		}
		if at == os.Args[3] && uint64(event.Header.LogPos) >= end {
			break
		}
	}
	fmt.Println(rows)
}
