package main

import (
	"testing"

	"tidegate/plugin"
)

var customers = plugin.NewTable("shop.customers", 1, plugin.Column{Name: "id", Kind: plugin.Int64}, plugin.Column{Name: "email", Kind: plugin.Text})

func TestBothImagesAreMasked(t *testing.T) {
	tester, err := plugin.NewTester(&mask{}, `{"column": "email"}`)
	if err != nil {
		t.Fatal(err)
	}
	results, err := tester.Run(customers, plugin.Change{
		Op:     plugin.Update,
		Before: plugin.Image{"id": 1, "email": "ada@example.com"},
		After:  plugin.Image{"id": 1, "email": nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Before["email"] != "a***@example.com" || r.After["email"] != nil {
		t.Error(r)
	}
}

func TestAConfigWithoutAColumnIsRefused(t *testing.T) {
	if _, err := plugin.NewTester(&mask{}, "{}"); err == nil || err.Error() != "`column` is missing" {
		t.Error(err)
	}
}
