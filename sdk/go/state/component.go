//go:build wasm

package state

import (
	host "tidegate/plugin/internal/bindings/tidegate_plugin_state"
	wit "tidegate/plugin/internal/wit/types"
)

var refusals = [...]error{ErrNotNow, ErrKeyLength, ErrValueLength, ErrFull, ErrTooMuch}

func get(keys [][]byte) ([][]byte, error) {
	answer := host.Get(keys)
	if answer.IsErr() {
		return nil, refusals[answer.Err()]
	}
	values := make([][]byte, len(keys))
	for i, value := range answer.Ok() {
		if value.IsSome() {
			values[i] = owned(value.Some())
		}
	}
	return values, nil
}

func put(changes []Change) error {
	wire := make([]host.Change, len(changes))
	for i, change := range changes {
		wire[i].Key = change.Key
		if change.Value != nil {
			wire[i].Value = wit.Some(change.Value)
		}
	}
	if answer := host.Put(wire); answer.IsErr() {
		return refusals[answer.Err()]
	}
	return nil
}

func scan(start []byte, entriesMax uint32) ([]Entry, error) {
	answer := host.Scan(start, entriesMax)
	if answer.IsErr() {
		return nil, refusals[answer.Err()]
	}
	entries := make([]Entry, len(answer.Ok()))
	for i, entry := range answer.Ok() {
		entries[i] = Entry{owned(entry.Key), owned(entry.Value)}
	}
	return entries, nil
}

// owned is never nil, which an empty list of the host may be.
func owned(bytes []byte) []byte {
	if bytes == nil {
		return []byte{}
	}
	return bytes
}
