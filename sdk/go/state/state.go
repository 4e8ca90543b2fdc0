// Package state is what a plugin remembers: a map of bytes to bytes, one for each lane, that outlives a crash, a reload and a restart. After those it
// is as it was when the last rows were settled, and the rows after those come again. What Process changed counts if it succeeds.
//
// It is there in Process alone, and bounded: `state` of the plugin in the manifest. A call costs more than a value, so ask for many keys at once
// where there are many rows. An error is what the host refused, and changes nothing. A component imports the host's state only if it imports this
// package. In `go test` a map takes its place; plugin.NewTester empties it.
package state

import "errors"

// What the host refuses.
var (
	ErrNotNow      = errors.New("the state is there in Process alone")
	ErrKeyLength   = errors.New("a key of the state must have 1 to 1024 bytes")
	ErrValueLength = errors.New("a value of the state may have 65536 bytes")
	ErrFull        = errors.New("the state is full: `state` of this plugin in the manifest limits it")
	ErrTooMuch     = errors.New("more values of the state were asked for at once than an answer may hold")
)

// Change sets the value of a key; nil takes the key away.
type Change struct{ Key, Value []byte }

// Entry is a key and its value.
type Entry struct{ Key, Value []byte }

// Get returns nil if there is no such key; the value of one that is there is never nil.
func Get(key []byte) ([]byte, error) {
	values, err := GetAll([][]byte{key})
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// GetAll returns the values of the keys, in their order.
func GetAll(keys [][]byte) ([][]byte, error) { return get(keys) }

// Set sets the value of a key. Of an empty one, nil or not, the length is 0.
func Set(key, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return Put([]Change{{key, value}})
}

// Delete takes a key away, if it is there.
func Delete(key []byte) error { return Put([]Change{{key, nil}}) }

// Put does all of the changes, in their order, or none of them.
func Put(changes []Change) error { return put(changes) }

// Scan returns entries in the order of their keys, from the first that is not less than start: at most so many, and fewer where they are long, but at
// least one if there is one.
func Scan(start []byte, entriesMax uint32) ([]Entry, error) { return scan(start, entriesMax) }
