package plugin

import (
	"fmt"
	"strings"

	transform "tidegate/plugin/internal/bindings/tidegate_plugin_transform"
)

// Metadata of rows that a plan can ask for; read by Row.MetadataText and Row.MetadataInt64.
type Metadata uint8

const (
	// Position is text: file:offset where the row's transaction begins.
	Position Metadata = iota
	// Place is a number that grows within the transaction.
	Place
	// Transaction is text: the transaction's GTID, if it has one.
	Transaction
	// CommitTime is in microseconds since the epoch, UTC, by the source's clock.
	CommitTime
)

type read struct {
	name          string
	after, before uint8
}

type addition struct {
	name     string
	kind     Kind
	nullable bool
}

// Plan is what a plugin wants of one relation. Its methods return it, so that calls can follow each other. A name that the
// relation does not have is an error of Bind.
type Plan struct {
	ops      []Op
	reads    []read
	metadata []Metadata
	adds     []addition
	drops    []string
	renames  [][2]string
	derives  []*Derivation
}

// NewPlan asks for all operations and no columns.
func NewPlan() *Plan {
	return &Plan{ops: []Op{Insert, Update, Delete, Snapshot}}
}

// Ops asks for these operations only; rows of others pass by unseen.
func (p *Plan) Ops(ops ...Op) *Plan {
	p.ops = ops
	return p
}

func (p *Plan) read(after, before uint8, columns []string) *Plan {
	for _, name := range columns {
		p.reads = append(p.reads, read{name, after, before})
	}
	return p
}

// Reads the row's value whatever happened to it: after an insert or update, before a delete.
func (p *Plan) Reads(columns ...string) *Plan {
	return p.read(transform.Want_Yes, transform.Want_Yes, columns)
}

// ReadsAfter reads what the row is after the change.
func (p *Plan) ReadsAfter(columns ...string) *Plan {
	return p.read(transform.Want_Yes, transform.Want_No, columns)
}

// ReadsBefore reads what the row was before the change.
func (p *Plan) ReadsBefore(columns ...string) *Plan {
	return p.read(transform.Want_No, transform.Want_Yes, columns)
}

// Rewrites reads in order to replace, as Batch.RewriteText does: the after image, and the before image where something
// downstream reads it.
func (p *Plan) Rewrites(columns ...string) *Plan {
	return p.read(transform.Want_Yes, transform.Want_IfWanted, columns)
}

// ReadsMetadata asks for row metadata.
func (p *Plan) ReadsMetadata(metadata ...Metadata) *Plan {
	p.metadata = append(p.metadata, metadata...)
	return p
}

// Adds a column; absent in every row that does not set it.
func (p *Plan) Adds(column string, kind Kind) *Plan {
	p.adds = append(p.adds, addition{column, kind, true})
	return p
}

// AddsNotNull adds a column that every row sets.
func (p *Plan) AddsNotNull(column string, kind Kind) *Plan {
	p.adds = append(p.adds, addition{column, kind, false})
	return p
}

// Drops leaves columns out. Not those of the key. They can still be read.
func (p *Plan) Drops(columns ...string) *Plan {
	p.drops = append(p.drops, columns...)
	return p
}

// Renames gives a column another name behind this plugin.
func (p *Plan) Renames(column, to string) *Plan {
	p.renames = append(p.renames, [2]string{column, to})
	return p
}

// Derives declares a table of which the plugin makes rows.
func (p *Plan) Derives(table *Derivation) *Plan {
	p.derives = append(p.derives, table)
	return p
}

// Derivation is a table of the plugin's making, of which Row.Derive makes rows.
type Derivation struct {
	name    string
	columns []addition
	key     []uint16
}

// NewDerivation takes "schema.table", which is also the topic of its rows.
func NewDerivation(name string) *Derivation {
	return &Derivation{name: name}
}

// Column adds one that may be NULL, or absent.
func (d *Derivation) Column(name string, kind Kind) *Derivation {
	d.columns = append(d.columns, addition{name, kind, true})
	return d
}

// Key adds the next column of the key, which every row sets. Without any, rows can be inserted only.
func (d *Derivation) Key(name string, kind Kind) *Derivation {
	d.key = append(d.key, uint16(len(d.columns)))
	d.columns = append(d.columns, addition{name, kind, false})
	return d
}

// more is the stronger of two wishes.
func more(a, b uint8) uint8 {
	switch {
	case a == transform.Want_Yes || b == transform.Want_Yes:
		return transform.Want_Yes
	case a == transform.Want_No:
		return b
	default:
		return a
	}
}

func additions(from []addition) []transform.Addition {
	var to []transform.Addition
	for _, a := range from {
		to = append(to, transform.Addition{Name: utf8(a.name), Kind: uint8(a.kind), Nullable: a.nullable})
	}
	return to
}

// wire is the plan as the host wants it.
func (p *Plan) wire(relation *Relation) (*transform.Plan, error) {
	var err error
	index := func(name string) uint16 {
		for i, c := range relation.Columns {
			if c.Name == name {
				return uint16(i)
			}
		}
		if err == nil {
			err = fmt.Errorf("%s.%s has no column `%s`", relation.Schema, relation.Table, name)
		}
		return 0
	}
	wire := &transform.Plan{Layout: transform.TextLayout_Packed, Adds: additions(p.adds)}
	for _, op := range p.ops {
		wire.Ops = append(wire.Ops, uint8(op))
	}
	at := map[uint16]int{}
	for _, r := range p.reads {
		i := index(r.name)
		if same, ok := at[i]; ok {
			wire.Reads[same].After = more(wire.Reads[same].After, r.after)
			wire.Reads[same].Before = more(wire.Reads[same].Before, r.before)
			continue
		}
		at[i] = len(wire.Reads)
		wire.Reads = append(wire.Reads, transform.Read{Index: i, After: r.after, Before: r.before})
	}
	for _, m := range p.metadata {
		wire.Metadata = append(wire.Metadata, uint8(m))
	}
	for _, name := range p.drops {
		wire.Drops = append(wire.Drops, index(name))
	}
	for _, r := range p.renames {
		wire.Renames = append(wire.Renames, transform.Rename{Index: index(r[0]), Name: utf8(r[1])})
	}
	for _, d := range p.derives {
		schema, table, both := strings.Cut(d.name, ".")
		if !both {
			schema, table = "", d.name
		}
		wire.Derives = append(wire.Derives, transform.Derivation{Schema: utf8(schema), Table: utf8(table), Columns: additions(d.columns), Key: d.key})
	}
	return wire, err
}
