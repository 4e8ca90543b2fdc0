package plugin

import (
	"errors"
	"unsafe"

	transform "tidegate/plugin/internal/bindings/tidegate_plugin_transform"
	types "tidegate/plugin/internal/bindings/tidegate_plugin_types"
)

// bound is a relation and what was asked of it.
type bound struct {
	relation *Relation
	// All columns: those of the relation, then those added.
	columns []Column
	index   map[string]int
	found   names
	// By column, what SetAll has set last.
	constants []constant
	reads     []reading
	metadata  []Metadata
	derives   []derivedTable
}

// names remembers which number the same string, in the same place, had the last time: columns and topics are mostly named by literals,
// and hashing is slow in WebAssembly.
type names [16]struct {
	name string
	at   int
}

func (n *names) slot(name string) int {
	return int(uintptr(unsafe.Pointer(unsafe.StringData(name)))>>1) % len(n)
}

func (n *names) get(name string) (int, bool) {
	known := &n[n.slot(name)]
	return known.at, unsafe.StringData(known.name) == unsafe.StringData(name) && len(known.name) == len(name) && name != ""
}

func (n *names) put(name string, at int) {
	known := &n[n.slot(name)]
	known.name, known.at = name, at
}

// constant is a text that all rows were set to.
type constant struct {
	text   string
	isMade bool
	values transform.Values
}

// reading says which images of a column the plan reads.
type reading struct{ after, before bool }

type derivedTable struct {
	name    string
	columns []Column
}

// running is a plugin and the relations that it is bound to.
type running struct {
	plugin Plugin
	bound  map[uint32]*bound
}

func columnsOf(from []addition) []Column {
	var to []Column
	for _, a := range from {
		to = append(to, Column{Name: a.name, Kind: a.kind, Nullable: a.nullable})
	}
	return to
}

// bind returns nil for a relation that does not concern the plugin.
func (r *running) bind(relation *Relation) (*transform.Plan, error) {
	plan, err := guardedBind(r.plugin, relation)
	if err != nil || plan == nil {
		return nil, err
	}
	wire, err := plan.wire(relation)
	if err != nil {
		return nil, err
	}
	b := &bound{relation: relation, metadata: plan.metadata, index: map[string]int{}}
	b.columns = append(append(b.columns, relation.Columns...), columnsOf(plan.adds)...)
	for i, c := range b.columns {
		b.index[c.Name] = i
	}
	b.reads, b.constants = make([]reading, len(b.columns)), make([]constant, len(b.columns))
	for _, read := range wire.Reads {
		b.reads[read.Index] = reading{read.After != transform.Want_No, read.Before != transform.Want_No}
	}
	for _, d := range plan.derives {
		b.derives = append(b.derives, derivedTable{d.name, columnsOf(d.columns)})
	}
	if r.bound == nil {
		r.bound = map[uint32]*bound{}
	}
	r.bound[relation.ID] = b
	return wire, nil
}

func (r *running) process(relation uint32, wire types.Batch) (transform.Outcome, error) {
	b := r.bound[relation]
	if b == nil {
		return transform.Outcome{}, errors.New("rows of a relation that was not bound")
	}
	batch := newBatch(b, wire)
	err := guardedProcess(r.plugin, batch)
	currentRow = -1
	if err != nil {
		return transform.Outcome{}, err
	}
	return batch.finish(), nil
}
