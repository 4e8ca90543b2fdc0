// The same as ../src/lib.rs, which says what it is for.
package main

import (
	"encoding/json"
	"unicode/utf8"

	"tidegate/plugin"
)

type bench struct {
	Filter, Mask, Route, View string
}

var topics = [8]string{"part-0", "part-1", "part-2", "part-3", "part-4", "part-5", "part-6", "part-7"}

func (b *bench) Configure(config []byte) error { return json.Unmarshal(config, b) }

func (b *bench) Bind(relation *plugin.Relation) (*plugin.Plan, error) {
	for _, name := range []string{b.Filter, b.Mask, b.Route} {
		if relation.Column(name) == nil {
			return nil, nil
		}
	}
	return plugin.NewPlan().ReadsAfter(b.Filter, b.Route).Rewrites(b.Mask).Adds("region", plugin.Text), nil
}

func isFiltered(value int64, ok bool) bool { return ok && value%16 == 0 }

// topic of NULL is that of 0.
func topic(value int64, _ bool) string { return topics[(value%8+8)%8] }

func mask(text string, out []byte) []byte {
	_, first := utf8.DecodeRuneInString(text)
	return append(append(out, text[:first]...), "***"...)
}

func (b *bench) Process(batch *plugin.Batch) error {
	if b.View == "rows" {
		b.byRow(batch)
		return nil
	}
	filter, route := batch.Int64(plugin.Own, b.Filter), batch.Int64(plugin.Own, b.Route)
	batch.Keep(func(row int) bool { return !isFiltered(filter.At(row)) })
	batch.RewriteText(b.Mask, mask)
	batch.SetAll("region", "eu")
	batch.RouteBy(func(row int) string { return topic(route.At(row)) })
	return nil
}

func (b *bench) byRow(batch *plugin.Batch) {
	for row := range batch.Rows() {
		if isFiltered(row.Int64(b.Filter)) {
			row.Drop()
			continue
		}
		if text, ok := row.Text(b.Mask); ok {
			row.SetText(b.Mask, string(mask(text, nil)))
		}
		row.SetText("region", "eu")
		row.Route(topic(row.Int64(b.Route)))
	}
}

func init() { plugin.Export(&bench{}) }

func main() {}
