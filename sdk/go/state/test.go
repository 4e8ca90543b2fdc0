//go:build !wasm

package state

import "tidegate/plugin/internal/remembered"

func get(keys [][]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		if value, ok := remembered.Entries[string(key)]; ok {
			values[i] = []byte(value)
		}
	}
	return values, nil
}

func put(changes []Change) error {
	for _, change := range changes {
		if change.Value == nil {
			delete(remembered.Entries, string(change.Key))
		} else {
			remembered.Entries[string(change.Key)] = string(change.Value)
		}
	}
	return nil
}

func scan(start []byte, entriesMax uint32) ([]Entry, error) {
	var entries []Entry
	for _, key := range remembered.Keys() {
		if key >= string(start) && len(entries) < int(entriesMax) {
			entries = append(entries, Entry{[]byte(key), []byte(remembered.Entries[key])})
		}
	}
	return entries, nil
}
