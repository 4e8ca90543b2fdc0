package plugin

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	transform "tidegate/plugin/internal/bindings/tidegate_plugin_transform"
	types "tidegate/plugin/internal/bindings/tidegate_plugin_types"
	"tidegate/plugin/internal/remembered"
)

// Tester runs a plugin for `go test`, without WebAssembly, as the host does, less the checks of what it answers.
type Tester struct {
	running   running
	relations uint32
}

// NewTester configures the plugin. Its state is empty.
func NewTester(p Plugin, config string) (*Tester, error) {
	clear(remembered.Entries)
	if err := guardedConfigure(p, config); err != nil {
		return nil, err
	}
	return &Tester{running: running{plugin: p}}, nil
}

// NewTable makes a relation "schema.table"; the first columns are its key.
func NewTable(name string, key int, columns ...Column) *Relation {
	schema, table, _ := strings.Cut(name, ".")
	r := &Relation{Schema: schema, Table: table, Columns: columns}
	for i := range key {
		r.Key = append(r.Key, uint16(i))
	}
	return r
}

// Image has values by column, with the types that Kind says. A column that is not in it is absent.
type Image map[string]any

// Change to pass. An image that a change does not have is nil.
type Change struct {
	Op            Op
	Before, After Image
}

// Result is what the plugin made of a change.
type Result struct {
	Op      Op
	Dropped bool
	// Those of the change, with what was set.
	Before, After Image
	// Topics; nil: its table's own.
	Topics []string
	// Error is the message of Row.Fail.
	Error   string
	Derived []DerivedResult
}

// DerivedResult is a row that the plugin made.
type DerivedResult struct {
	Table string // "schema.table"
	Op    Op
	// What was set.
	Before, After Image
}

// Run binds the table and passes the changes (at least one) as one batch. A table that does not concern the plugin comes back as it
// was; operations and columns that the plan does not ask for are not passed.
func (t *Tester) Run(table *Relation, changes ...Change) ([]Result, error) {
	results := make([]Result, len(changes))
	for i, change := range changes {
		results[i] = Result{Op: change.Op, Before: clone(change.Before), After: clone(change.After)}
	}
	relation := *table
	relation.ID = t.relations
	t.relations++
	plan, err := t.running.bind(&relation)
	if err != nil || plan == nil {
		return results, err
	}
	var seen []int
	for i, change := range changes {
		if slices.Contains(plan.Ops, uint8(change.Op)) {
			seen = append(seen, i)
		}
	}
	if len(seen) == 0 {
		return results, nil
	}
	outcome, err := t.running.process(relation.ID, batchOf(&relation, plan, changes, seen))
	if err != nil {
		return nil, err
	}
	b := t.running.bound[relation.ID]
	for row, i := range seen {
		results[i].apply(b, &outcome, row)
	}
	return results, nil
}

func clone(image Image) Image {
	to := Image{}
	for name, value := range image {
		to[name] = value
	}
	return to
}

func batchOf(relation *Relation, plan *transform.Plan, changes []Change, seen []int) types.Batch {
	batch := types.Batch{Rows: uint32(len(seen))}
	hasBefore := false
	for _, i := range seen {
		batch.Ops = append(batch.Ops, uint8(changes[i].Op))
		hasBefore = hasBefore || changes[i].Before != nil
	}
	for _, image := range []uint8{imageAfter, imageBefore} {
		for _, read := range plan.Reads {
			want := read.After
			if image == imageBefore {
				want = read.Before
			}
			if want == transform.Want_No || image == imageBefore && !hasBefore {
				continue
			}
			vector := vectorFrom(&relation.Columns[read.Index], image, changes, seen)
			batch.Columns = append(batch.Columns, types.Column{Index: read.Index, Image: image, Vector: vector})
		}
	}
	for _, code := range plan.Metadata {
		batch.Metadata = append(batch.Metadata, metadataFrom(Metadata(code), len(seen)))
	}
	return batch
}

// vectorFrom is one image of a column, of the changes in seen.
func vectorFrom(column *Column, image uint8, changes []Change, seen []int) types.Vector {
	c := newCells(0, image, column.Kind, len(seen))
	present, hasAbsent := make([]byte, (len(seen)+7)/8), false
	for row, i := range seen {
		values := changes[i].After
		if image == imageBefore {
			values = changes[i].Before
		}
		value, ok := values[column.Name]
		if ok {
			setBit(present, row)
		} else if values != nil {
			hasAbsent = true
		}
		if !c.set(row, value) {
			wrongKind("the test", column, value)
		}
	}
	vector := c.vector()
	if hasAbsent {
		vector.Present = present
	}
	return vector
}

// metadataFrom is that of a test: the same position and GTID for all, places that count from 0, a commit at the epoch.
func metadataFrom(code Metadata, count int) types.Vector {
	kind := map[Metadata]Kind{Position: Text, Place: Uint64, Transaction: Text, CommitTime: Timestamp}[code]
	c := newCells(0, imageAfter, kind, count)
	for row := range count {
		c.set(row, map[Metadata]any{Position: "binlog.000001:4", Place: uint64(row), Transaction: "00000000-0000-0000-0000-000000000000:1", CommitTime: 0}[code])
	}
	return c.vector()
}

// apply takes what the answer says about a row.
func (r *Result) apply(b *bound, outcome *transform.Outcome, row int) {
	if len(outcome.Ops) > 0 {
		r.Op = Op(outcome.Ops[row])
	}
	r.Dropped = len(outcome.Keep) > 0 && !bit(outcome.Keep, row)
	for _, assign := range outcome.Assigns {
		if len(assign.Rows) > 0 && !bit(assign.Rows, row) {
			continue
		}
		to := r.After
		if assign.Image == imageBefore {
			to = r.Before
		}
		if assign.Values.Tag() == transform.Values_Constant {
			put(to, b.columns[assign.Index].Name, assign.Values.Constant(), 0)
		} else {
			put(to, b.columns[assign.Index].Name, assign.Values.Each(), row)
		}
	}
	switch outcome.Routing.Tag() {
	case transform.Routing_All:
		r.Topics = outcome.Routing.All()
	case transform.Routing_ByRow:
		byRow := outcome.Routing.ByRow()
		if list := binary.LittleEndian.Uint16(byRow.Rows[row*2:]); list != unrouted {
			r.Topics = byRow.Lists[list]
		}
	}
	for _, failed := range outcome.Errors {
		if int(failed.Row) == row {
			r.Error = failed.Message
		}
	}
	for _, derived := range outcome.Derived {
		table := &b.derives[derived.Derivation]
		for i := range derived.Ops {
			if int(binary.LittleEndian.Uint32(derived.Origins[i*4:])) != row {
				continue
			}
			made := DerivedResult{table.name, Op(derived.Ops[i]), Image{}, Image{}}
			for _, c := range derived.Columns {
				to := made.After
				if c.Image == imageBefore {
					to = made.Before
				}
				put(to, table.columns[c.Index].Name, c.Vector, i)
			}
			r.Derived = append(r.Derived, made)
		}
	}
}

func put(image Image, name string, wire types.Vector, row int) {
	if v := vectorOf(&wire); v.present == nil || bit(v.present, row) {
		image[name] = v.value(row)
	}
}

// String is for messages of tests.
func (r Result) String() string {
	return fmt.Sprintf("%v dropped=%v before=%v after=%v topics=%v error=%q derived=%v", r.Op, r.Dropped, map[string]any(r.Before), map[string]any(r.After), r.Topics, r.Error, r.Derived)
}
