// Numbers the changes of each row, as ../src/lib.rs does; either goes on where the other stopped.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"tidegate/plugin"
	"tidegate/plugin/state"
)

type number struct {
	Tables []string
	Column string
}

func (n *number) Configure(config []byte) error {
	if err := json.Unmarshal(config, n); err != nil {
		return err
	}
	if n.Tables == nil || n.Column == "" {
		return errors.New("`tables` or `column` is missing")
	}
	return nil
}

func (n *number) Bind(relation *plugin.Relation) (*plugin.Plan, error) {
	if !slices.ContainsFunc(n.Tables, relation.Matches) {
		return nil, nil
	}
	if len(relation.Key) == 0 {
		return nil, errors.New("it has no key, so its rows cannot be told apart")
	}
	plan := plugin.NewPlan().Adds(n.Column, plugin.Int64)
	for _, at := range relation.Key {
		plan.Reads(relation.Columns[at].Name)
	}
	return plan, nil
}

func (n *number) Process(batch *plugin.Batch) error {
	keys := make([][]byte, 0, batch.Len())
	for row := range batch.Rows() {
		keys = append(keys, keyOf(batch.Relation(), row))
	}
	values, err := state.GetAll(keys)
	if err != nil {
		return err
	}
	// The last number of each key; 0: none.
	last := map[string]int64{}
	for i, value := range values {
		if len(value) == 8 {
			last[string(keys[i])] = int64(binary.LittleEndian.Uint64(value))
		}
	}
	for row := range batch.Rows() {
		key := string(keys[row.Index()])
		switch row.Op() {
		case plugin.Delete:
			last[key] = 0
			continue
		case plugin.Update:
			last[key]++
		default:
			last[key] = 1
		}
		row.SetInt64(n.Column, last[key])
	}
	changes := make([]state.Change, 0, len(last))
	for key, count := range last {
		change := state.Change{Key: []byte(key)}
		if count > 0 {
			change.Value = binary.LittleEndian.AppendUint64(nil, uint64(count))
		}
		changes = append(changes, change)
	}
	return state.Put(changes)
}

// keyOf is the table and the values, each with its length in front.
func keyOf(relation *plugin.Relation, row plugin.Row) []byte {
	var key []byte
	push := func(part []byte) {
		key = append(binary.LittleEndian.AppendUint32(key, uint32(len(part))), part...)
	}
	push([]byte(relation.Schema))
	push([]byte(relation.Table))
	for _, at := range relation.Key {
		switch value := row.Get(relation.Columns[at].Name).(type) {
		case nil:
			push(nil)
		case int64:
			push(binary.LittleEndian.AppendUint64(nil, uint64(value)))
		case uint64:
			push(binary.LittleEndian.AppendUint64(nil, value))
		case []byte:
			push(value)
		default:
			push(fmt.Append(nil, value))
		}
	}
	return key
}

func init() { plugin.Export(&number{}) }

func main() {}
