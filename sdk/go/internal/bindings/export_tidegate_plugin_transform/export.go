// Package export_tidegate_plugin_transform is what the generated exports call; the SDK sets it.
package export_tidegate_plugin_transform

import (
	transform "tidegate/plugin/internal/bindings/tidegate_plugin_transform"
	types "tidegate/plugin/internal/bindings/tidegate_plugin_types"
	wit "tidegate/plugin/internal/wit/types"
)

var (
	Configure func(config string) wit.Result[wit.Unit, string]
	Bind      func(relation types.Relation) wit.Result[wit.Option[transform.Plan], string]
	Process   func(relation uint32, rows types.Batch) wit.Result[transform.Outcome, string]
)
