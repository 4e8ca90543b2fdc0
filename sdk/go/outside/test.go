//go:build !wasm

package outside

import (
	"crypto/rand"
	"os"
	"time"
)

func now() time.Time { return time.Now().UTC() }

func random(bytes []byte) {
	if _, err := rand.Read(bytes); err != nil {
		panic(err)
	}
}

func env(name string) (string, bool) { return os.LookupEnv(name) }
