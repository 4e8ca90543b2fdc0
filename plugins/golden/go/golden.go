// The golden plugin in Go: does to each row what its column `todo` says. ../README.md says what it has to do, in each language.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"tidegate/plugin"
)

type golden struct {
	Table  string
	Prefix string
}

// copied are the columns that have a copy.
func copied(relation *plugin.Relation) []plugin.Column {
	var columns []plugin.Column
	for _, c := range relation.Columns {
		if !relation.IsKey(c.Name) && c.Name != "todo" {
			columns = append(columns, c)
		}
	}
	return columns
}

func made(relation *plugin.Relation) string { return relation.Schema + ".golden_made" }

func (g *golden) Configure(config []byte) error {
	if err := json.Unmarshal(config, g); err != nil {
		return err
	}
	if g.Table == "" {
		return errors.New("`table` is missing")
	}
	return nil
}

func (g *golden) Bind(relation *plugin.Relation) (*plugin.Plan, error) {
	if !relation.Matches(g.Table) {
		return nil, nil
	}
	if relation.Column("todo") == nil {
		return nil, errors.New("no column `todo`")
	}
	plan := plugin.NewPlan().ReadsMetadata(plugin.Position, plugin.Place, plugin.Transaction, plugin.CommitTime)
	for _, c := range relation.Columns {
		plan.Reads(c.Name)
	}
	for _, c := range copied(relation) {
		plan.Adds(c.Name+"_copy", c.Kind)
	}
	plan.Adds("absent", plugin.Text).Adds("op_seen", plugin.Text).Adds("seen_at", plugin.Text)
	if relation.Column("dropped") != nil {
		plan.Drops("dropped")
	}
	if relation.Column("renamed") != nil {
		plan.Renames("renamed", "renamed_new")
	}
	return plan.Derives(plugin.NewDerivation(made(relation)).Key("id", plugin.Int64).Key("n", plugin.Int64).Column("note", plugin.Text)), nil
}

func isConstant(batch *plugin.Batch) bool {
	todo := batch.Text(plugin.Own, "todo")
	for row := range batch.Len() {
		if value, _ := todo.At(row); value != "constant" {
			return false
		}
	}
	return true
}

func (g *golden) Process(batch *plugin.Batch) error {
	if isConstant(batch) {
		batch.SetAll("op_seen", "same")
		return nil
	}
	for row := range batch.Rows() {
		row.SetText("op_seen", row.Op().String())
		if err := g.one(batch, row); err != nil {
			return err
		}
	}
	return nil
}

func (g *golden) one(batch *plugin.Batch, row plugin.Row) error {
	relation := batch.Relation()
	todo, _ := row.Text("todo")
	switch todo {
	case "copy":
		var absent []string
		for _, c := range copied(relation) {
			value := row.Get(c.Name)
			if value == plugin.Absent {
				absent = append(absent, c.Name)
			}
			row.Set(c.Name+"_copy", value)
		}
		row.Set("absent", strings.Join(absent, ","))
	case "metadata":
		positions, transactions := batch.MetadataText(plugin.Position), batch.MetadataText(plugin.Transaction)
		times := batch.MetadataInt64(plugin.CommitTime)
		position, _ := positions.At(row.Index())
		transaction, ok := transactions.At(row.Index())
		if !ok {
			transaction = "none"
		}
		time, _ := times.At(row.Index())
		row.Set("seen_at", fmt.Sprintf("%s %s %d", position, transaction, time))
	case "null":
		for _, c := range copied(relation) {
			row.Set(c.Name+"_copy", nil)
		}
	case "drop":
		row.Drop()
	case "fail":
		row.Fail("row failed: %s", g.Prefix)
	case "route":
		row.Route(g.Prefix + ".one")
	case "both":
		row.Route(g.Prefix + ".one")
		row.RouteAlso(g.Prefix + ".two")
	case "delete":
		row.SetOp(plugin.Delete)
	case "keep":
		row.SetOp(plugin.Update)
	case "derive":
		for n, note := range []any{"a", nil} {
			derived := row.Derive(made(relation))
			derived.Set("id", row.Get("id"))
			derived.Set("n", n)
			derived.Set("note", note)
		}
	case "underive":
		gone := row.DeriveAs(plugin.Delete, made(relation))
		gone.Set("id", row.Get("id"))
		gone.Set("n", 0)
	case "throw":
		panic("thrown")
	case "error":
		return errors.New("refused")
	case "log":
		plugin.Log(plugin.LevelInfo, "logged")
	}
	return nil
}

func init() { plugin.Export(&golden{}) }

func main() {}
