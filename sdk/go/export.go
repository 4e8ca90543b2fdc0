//go:build wasm

package plugin

import (
	"strings"

	_ "tidegate/plugin/internal/bindings/exports"

	export "tidegate/plugin/internal/bindings/export_tidegate_plugin_transform"
	host "tidegate/plugin/internal/bindings/tidegate_plugin_host"
	transform "tidegate/plugin/internal/bindings/tidegate_plugin_transform"
	types "tidegate/plugin/internal/bindings/tidegate_plugin_types"
	wit "tidegate/plugin/internal/wit/types"
)

// Export makes p the plugin of this component. Call it in an init function of package main; main itself does nothing.
func Export(p Plugin) {
	run := &running{plugin: p}
	export.Configure = func(config string) wit.Result[wit.Unit, string] {
		if err := guardedConfigure(p, config); err != nil {
			return wit.Err[wit.Unit](utf8(err.Error()))
		}
		return wit.Ok[wit.Unit, string](wit.Unit{})
	}
	export.Bind = func(relation types.Relation) wit.Result[wit.Option[transform.Plan], string] {
		plan, err := run.bind(relationOf(relation))
		if err != nil {
			return wit.Err[wit.Option[transform.Plan]](utf8(err.Error()))
		}
		if plan == nil {
			return wit.Ok[wit.Option[transform.Plan], string](wit.None[transform.Plan]())
		}
		return wit.Ok[wit.Option[transform.Plan], string](wit.Some(*plan))
	}
	export.Process = func(relation uint32, rows types.Batch) wit.Result[transform.Outcome, string] {
		outcome, err := run.process(relation, rows)
		if err != nil {
			return wit.Err[transform.Outcome](utf8(err.Error()))
		}
		return wit.Ok[transform.Outcome, string](outcome)
	}
}

// relationOf copies: what the host passes is gone after the call.
func relationOf(wire types.Relation) *Relation {
	r := &Relation{ID: wire.Id, Schema: strings.Clone(wire.Schema), Table: strings.Clone(wire.Table), Key: append([]uint16(nil), wire.Key...)}
	for _, c := range wire.Columns {
		r.Columns = append(r.Columns, Column{strings.Clone(c.Name), Kind(c.Kind), c.Nullable, strings.Clone(c.SourceType)})
	}
	return r
}

func entry(level Level, message string) {
	host.Log(uint8(level), message)
}
