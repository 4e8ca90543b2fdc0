package main

import (
	"slices"
	"testing"

	"tidegate/plugin"
)

func TestChangesOfAKeyAreCountedFromBatchToBatch(t *testing.T) {
	orders := plugin.NewTable("shop.orders", 1, plugin.Column{Name: "id", Kind: plugin.Int64})
	insert := func(id int64) plugin.Change { return plugin.Change{Op: plugin.Insert, After: plugin.Image{"id": id}} }
	update := func(id int64) plugin.Change {
		return plugin.Change{Op: plugin.Update, Before: plugin.Image{"id": id}, After: plugin.Image{"id": id}}
	}
	remove := plugin.Change{Op: plugin.Delete, Before: plugin.Image{"id": int64(1)}}
	newTester := func() *plugin.Tester {
		tester, err := plugin.NewTester(&number{}, `{"tables": ["shop.orders"], "column": "version"}`)
		if err != nil {
			t.Fatal(err)
		}
		return tester
	}
	check := func(tester *plugin.Tester, changes []plugin.Change, expected ...any) {
		t.Helper()
		results, err := tester.Run(orders, changes...)
		if err != nil {
			t.Fatal(err)
		}
		var found []any
		for _, result := range results {
			found = append(found, result.After["version"])
		}
		if !slices.Equal(found, expected) {
			t.Error(found, expected)
		}
	}
	one, two, three := int64(1), int64(2), int64(3)
	tester := newTester()
	check(tester, []plugin.Change{insert(1), update(1), insert(2), update(1)}, one, two, one, three)
	check(tester, []plugin.Change{update(2), remove, insert(1), update(3)}, two, nil, one, one)
	// Another tester remembers nothing of it.
	check(newTester(), []plugin.Change{update(2)}, one)
}
