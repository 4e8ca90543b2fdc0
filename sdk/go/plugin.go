// Package plugin is for writing Tidegate plugins in Go: implement [Plugin], hand it to [Export], build with
// scripts/toolchains/go-wasm.sh.
//
// A plugin gets the changes of a table in batches, and only the columns that it asked for. There are two ways to look at a
// batch: row by row ([Batch.Rows]), which reads naturally, and column by column ([Batch.Text] and its siblings,
// [Batch.RewriteText]), which is faster. README.md has an example of each.
//
// Columns are named. A name that the table or the plan does not have, or a value of another kind, is a mistake of the
// plugin and panics. A panic becomes the plugin's error, with file and line.
package plugin

import (
	"fmt"
	"runtime"
	"strings"
)

// Plugin is what a plugin has to do. Each lane of a pipeline has an instance of its own; calls never overlap.
type Plugin interface {
	// Configure is called once, first. config is the manifest's config of this plugin as JSON, {} if there is none. The error is
	// what `tidegate check` shows.
	Configure(config []byte) error

	// Bind is called once for each table that passes, and again when its columns have changed. A plan of nil: its rows do not
	// concern this plugin. It must give the same plan for the same relation.
	Bind(relation *Relation) (*Plan, error)

	// Process gets at least one row of a relation for which Bind gave a plan, in source order. An error stops the pipeline;
	// one row that cannot be processed is better reported by Row.Fail. The batch and its texts are valid until it returns, and
	// what it keeps of them beyond.
	Process(batch *Batch) error
}

// Op is what happened to a row.
type Op uint8

const (
	Insert Op = iota
	Update
	Delete
	// Snapshot rows are read from the table itself and not from the change stream.
	Snapshot
)

// String is "insert", "update", "delete" or "snapshot".
func (op Op) String() string {
	if op > Snapshot {
		return fmt.Sprintf("operation %d", uint8(op))
	}
	return [...]string{"insert", "update", "delete", "snapshot"}[op]
}

// Kind is what a column holds.
type Kind uint8

const (
	Boolean   Kind = iota // bool
	Int64                 // int64
	Uint64                // uint64
	Float64               // float64
	Text                  // string
	Bytes                 // []byte
	Decimal               // string: exact
	JSON                  // string
	Date                  // int64: milliseconds since 1970-01-01; one that no calendar has (0000-00-00) is below -2^63 + 2^60
	Time                  // int64: microseconds, signed
	DateTime              // int64: microseconds since 1970-01-01T00:00:00, no zone; as Date
	Timestamp             // int64: microseconds since 1970-01-01T00:00:00Z; as Date
)

var kinds = [...]string{"boolean", "int64", "uint64", "float64", "text", "bytes", "decimal", "json", "date", "time", "datetime", "timestamp"}

func (kind Kind) String() string {
	if int(kind) < len(kinds) {
		return kinds[kind]
	}
	return fmt.Sprintf("kind %d", uint8(kind))
}

// IsText says that values are strings: text, decimal and JSON.
func (kind Kind) IsText() bool { return kind == Text || kind == Decimal || kind == JSON }

// IsInt64 says that values are int64: also dates and times.
func (kind Kind) IsInt64() bool { return kind == Int64 || kind >= Date && kind <= Timestamp }

// Column of a relation.
type Column struct {
	Name     string
	Kind     Kind
	Nullable bool
	// SourceType is as the source's DDL writes it: varchar(55); empty for a column that a plugin added.
	SourceType string
}

// Relation is a table as seen at one position.
type Relation struct {
	ID      uint32
	Schema  string
	Table   string
	Columns []Column
	// Key has the indexes of the key columns, in key order; empty: the table has no key.
	Key []uint16
}

// Column returns nil if there is none of this name.
func (r *Relation) Column(name string) *Column {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return &r.Columns[i]
		}
	}
	return nil
}

// IsKey says whether a column is part of the key.
func (r *Relation) IsKey(name string) bool {
	for _, at := range r.Key {
		if r.Columns[at].Name == name {
			return true
		}
	}
	return false
}

// Matches is true for "schema.table", "table", "schema.*" and "*".
func (r *Relation) Matches(pattern string) bool {
	schema, table, both := strings.Cut(pattern, ".")
	if !both {
		schema, table = "*", pattern
	}
	return (schema == "*" || schema == r.Schema) && (table == "*" || table == r.Table)
}

// The row that Batch.Rows is at; -1: none.
var currentRow = -1

// guard makes an error of a panic, with the lines of the plugin that led to it.
func guard(err *error) {
	p := recover()
	if p == nil {
		return
	}
	text := fmt.Sprintf("panic: %v", p)
	if currentRow >= 0 {
		text = fmt.Sprintf("panic in row %d of the batch: %v", currentRow, p)
		currentRow = -1
	}
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		// Down to where the SDK calls the plugin.
		if strings.HasPrefix(frame.Function, "tidegate/plugin.guarded") {
			break
		}
		isOwn := !strings.HasPrefix(frame.Function, "tidegate/plugin.") && !strings.Contains(frame.Function, ".(*Batch).Rows.")
		if isOwn && frame.Function != "" && !strings.HasPrefix(frame.Function, "runtime.") {
			text += fmt.Sprintf("\n  at %s:%d in %s", frame.File, frame.Line, frame.Function)
		}
	}
	*err = fmt.Errorf("%s", text)
}

func guardedConfigure(p Plugin, config string) (err error) {
	defer guard(&err)
	return p.Configure([]byte(config))
}

func guardedBind(p Plugin, relation *Relation) (plan *Plan, err error) {
	defer guard(&err)
	return p.Bind(relation)
}

func guardedProcess(p Plugin, batch *Batch) (err error) {
	defer guard(&err)
	return p.Process(batch)
}
