// Masks a text column, before and after: { "column": "email" }. Only the first character and the domain stay.
package main

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"tidegate/plugin"
)

type mask struct {
	Column string
}

func (m *mask) Configure(config []byte) error {
	if err := json.Unmarshal(config, m); err != nil {
		return err
	}
	if m.Column == "" {
		return errors.New("`column` is missing")
	}
	return nil
}

func (m *mask) Bind(relation *plugin.Relation) (*plugin.Plan, error) {
	if relation.Column(m.Column) == nil {
		return nil, nil
	}
	return plugin.NewPlan().Rewrites(m.Column), nil
}

func (m *mask) Process(batch *plugin.Batch) error {
	batch.RewriteText(m.Column, func(value string, out []byte) []byte {
		_, first := utf8.DecodeRuneInString(value)
		out = append(out, value[:first]...)
		out = append(out, "***"...)
		if at := strings.LastIndexByte(value, '@'); at >= 0 {
			out = append(out, value[at:]...)
		}
		return out
	})
	return nil
}

func init() { plugin.Export(&mask{}) }

func main() {}
