package plugin

import (
	"fmt"
	"slices"

	transform "tidegate/plugin/internal/bindings/tidegate_plugin_transform"
)

// Row of a batch. It reads and sets its own image (after the change, or before it if the row was deleted) unless After or Before
// says otherwise. What is set is not read back.
type Row struct {
	batch *Batch
	row   int
	side  Side
}

// Index in the batch.
func (r Row) Index() int { return r.row }

// Op that happened to it.
func (r Row) Op() Op { return Op(r.batch.ops[r.row]) }

// After is the same row, looked at after the change.
func (r Row) After() Row { return Row{r.batch, r.row, After} }

// Before is the same row, looked at before the change.
func (r Row) Before() Row { return Row{r.batch, r.row, Before} }

// Text, decimal or JSON; false: NULL, or not in the image.
func (r Row) Text(column string) (string, bool) {
	c := r.batch.Text(r.side, column)
	return c.At(r.row)
}

// Bytes must not be written; false is as for Text.
func (r Row) Bytes(column string) ([]byte, bool) {
	c := r.batch.Bytes(r.side, column)
	return c.At(r.row)
}

// Int64 also reads dates and times: see Kind; false is as for Text.
func (r Row) Int64(column string) (int64, bool) {
	c := r.batch.Int64(r.side, column)
	return c.At(r.row)
}

// Uint64 of the column; false is as for Text.
func (r Row) Uint64(column string) (uint64, bool) {
	c := r.batch.Uint64(r.side, column)
	return c.At(r.row)
}

// Float64 of the column; false is as for Text.
func (r Row) Float64(column string) (float64, bool) {
	c := r.batch.Float64(r.side, column)
	return c.At(r.row)
}

// Bool of the column; false in the second place is as for Text.
func (r Row) Bool(column string) (value, ok bool) {
	c := r.batch.Bool(r.side, column)
	return c.At(r.row)
}

// Get returns the value of a column of any kind, with the type that Kind says. nil: NULL. Absent: the image does not have it.
func (r Row) Get(column string) any {
	found, _ := r.batch.imagesOf(r.side, column)
	v := found.ofRow(r.row)
	if v == nil || v.present != nil && !bit(v.present, r.row) {
		return Absent
	}
	return v.value(r.row)
}

func (r Row) image() uint8 {
	if r.side == Before || r.side == Own && r.Op() == Delete {
		return imageBefore
	}
	return imageAfter
}

func (r Row) cells(column string) (*cells, *Column) {
	at, c := r.batch.column(column)
	set := &r.batch.cells[r.image()][at]
	if *set == nil {
		*set = newCells(uint16(at), r.image(), c.Kind, r.batch.rows)
		r.batch.order = append(r.batch.order, *set)
	}
	return *set, c
}

// Set sets a value of the type that Kind says, or an int. nil is NULL; Absent leaves the column as it is.
func (r Row) Set(column string, value any) {
	if value == Absent {
		return
	}
	if set, c := r.cells(column); !set.set(r.row, value) {
		wrongKind(r.batch.bound.relation.Table, c, value)
	}
}

// SetText is Set, for text, decimals and JSON, and faster.
func (r Row) SetText(column, value string) {
	set, c := r.cells(column)
	if !c.Kind.IsText() {
		wrongKind(r.batch.bound.relation.Table, c, value)
	}
	set.setText(r.row, value)
}

// SetInt64 is Set, for int64, dates and times, and faster.
func (r Row) SetInt64(column string, value int64) {
	set, c := r.cells(column)
	if !c.Kind.IsInt64() {
		wrongKind(r.batch.bound.relation.Table, c, value)
	}
	set.setWord(r.row, uint64(value))
}

// SetOp makes another operation of it: a delete into an update keeps the row at the sink.
func (r Row) SetOp(op Op) {
	if r.batch.outcome.Ops == nil {
		r.batch.outcome.Ops = slices.Clone(r.batch.ops)
	}
	r.batch.outcome.Ops[r.row] = uint8(op)
}

// Drop: it goes no further.
func (r Row) Drop() { r.batch.drop(r.row) }

// Route sends it to this topic and to no other; by default it goes to "schema.table".
func (r Row) Route(topic string) { r.batch.route(r.row, topic, false) }

// RouteAlso sends it to this topic as well as to those that Route and this have named.
func (r Row) RouteAlso(topic string) { r.batch.route(r.row, topic, true) }

// Fail: it cannot be processed, and the pipeline stops in front of it. The message should not hold values.
func (r Row) Fail(format string, arguments ...any) {
	failed := transform.RowError{Row: uint32(r.row), Message: utf8(fmt.Sprintf(format, arguments...))}
	r.batch.outcome.Errors = append(r.batch.outcome.Errors, failed)
}

// Derive makes a row of a table that the plan derives, "schema.table": an insert, which replaces a row of its key. It is written
// after this one, whether this one is dropped or not.
func (r Row) Derive(table string) DerivedRow { return r.DeriveAs(Insert, table) }

// DeriveAs makes another change: an update sets some columns of the row of its key, a delete needs the key alone.
func (r Row) DeriveAs(op Op, table string) DerivedRow {
	at := slices.IndexFunc(r.batch.bound.derives, func(d derivedTable) bool { return d.name == table })
	if at < 0 {
		panic(fmt.Sprintf("the plan does not derive the table `%s`", table))
	}
	m := &r.batch.made[at]
	m.origins = append(m.origins, uint32(r.row))
	m.ops = append(m.ops, op)
	image := uint8(imageAfter)
	if op == Delete {
		image = imageBefore
	}
	return DerivedRow{&r.batch.bound.derives[at], m, len(m.origins) - 1, image}
}

// DerivedRow is a row in the making. What is not set is absent: a sink leaves it alone.
type DerivedRow struct {
	table *derivedTable
	made  *made
	row   int
	image uint8
}

// Before is the same row before the change, for updates.
func (d DerivedRow) Before() DerivedRow {
	d.image = imageBefore
	return d
}

// Set is as that of Row.
func (d DerivedRow) Set(column string, value any) {
	if value == Absent {
		return
	}
	at := slices.IndexFunc(d.table.columns, func(c Column) bool { return c.Name == column })
	if at < 0 {
		panic(fmt.Sprintf("the derived table `%s` has no column `%s`", d.table.name, column))
	}
	c := &d.table.columns[at]
	if !newCells(0, imageAfter, c.Kind, 1).set(0, value) {
		wrongKind(d.table.name, c, value)
	}
	if bytes, ok := value.([]byte); ok {
		value = slices.Clone(bytes)
	}
	d.made.values = append(d.made.values, madeValue{d.row, at, d.image, value})
}
