// Tries what a plugin may only do if the manifest grants it, { "do": "clock" }, as ../src/lib.rs does, less HTTP.
package main

import (
	"encoding/json"
	"fmt"

	"tidegate/plugin"
	"tidegate/plugin/outside"
)

type tries struct{ Do string }

func (t *tries) Configure(config []byte) error { return json.Unmarshal(config, t) }

func (t *tries) Bind(relation *plugin.Relation) (*plugin.Plan, error) {
	plan := plugin.NewPlan()
	for _, name := range texts(relation) {
		plan.Rewrites(name)
	}
	return plan, nil
}

func (t *tries) Process(batch *plugin.Batch) error {
	var found string
	switch t.Do {
	case "clock":
		found = fmt.Sprint(outside.Now().Unix())
	case "random":
		bytes := make([]byte, 16)
		outside.Random(bytes)
		found = fmt.Sprintf("%x", bytes)
	default:
		granted, _ := outside.Env("TIDEGATE_TEST_GRANTED")
		if found = granted + " alone"; has("PATH") {
			found = granted + " and more"
		}
	}
	for _, name := range texts(batch.Relation()) {
		batch.RewriteText(name, func(_ string, out []byte) []byte { return append(out, found...) })
	}
	return nil
}

func has(name string) bool {
	_, ok := outside.Env(name)
	return ok
}

func texts(relation *plugin.Relation) []string {
	var names []string
	for _, column := range relation.Columns {
		if column.Kind == plugin.Text {
			names = append(names, column.Name)
		}
	}
	return names
}

func init() { plugin.Export(&tries{}) }

func main() {}
