// Package remembered is the state of a plugin in a unit test, where there is no host.
package remembered

import (
	"maps"
	"slices"
)

// Entries by key.
var Entries = map[string]string{}

// Keys are in their order.
func Keys() []string {
	return slices.Sorted(maps.Keys(Entries))
}
