package plugin

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"
	"sort"

	transform "tidegate/plugin/internal/bindings/tidegate_plugin_transform"
	types "tidegate/plugin/internal/bindings/tidegate_plugin_types"
)

const (
	imageAfter  = 0
	imageBefore = 1
	// The index that leaves a row's topics as they are.
	unrouted = math.MaxUint16
)

// Side is which image of a row to look at.
type Side uint8

const (
	// Own: after the change, or before it where the row was deleted.
	Own Side = iota
	After
	Before
)

// Batch of rows of one relation: read it by column or by row; what is to be changed is collected and handed back at the end.
type Batch struct {
	bound      *bound
	rows       int
	ops        []uint8
	hasDeletes bool
	images     [2][]*vector // by column; nil: not passed
	metadata   []vector

	outcome transform.Outcome
	cells   [2][]*cells // by column
	order   []*cells
	lists   [][]string
	routed  names
	single  map[string]uint16 // nil while there are few lists
	several map[[2]uint16]uint16
	ofRow   []byte // a uint16 a row; nil until the first row is routed
	all     []string
	made    []made
}

func newBatch(b *bound, wire types.Batch) *Batch {
	batch := &Batch{bound: b, rows: int(wire.Rows), ops: wire.Ops, hasDeletes: bytes.IndexByte(wire.Ops, byte(Delete)) >= 0}
	columns := len(b.columns)
	images, set := make([]*vector, columns*2), make([]*cells, columns*2)
	for image := range batch.images {
		batch.images[image] = images[image*columns : (image+1)*columns]
		batch.cells[image] = set[image*columns : (image+1)*columns]
	}
	vectors := make([]vector, len(wire.Columns)+len(wire.Metadata))
	for i := range wire.Columns {
		c := &wire.Columns[i]
		vectors[i] = vectorOf(&c.Vector)
		batch.images[c.Image][c.Index] = &vectors[i]
	}
	batch.metadata = vectors[len(wire.Columns):]
	for i := range wire.Metadata {
		batch.metadata[i] = vectorOf(&wire.Metadata[i])
	}
	if len(b.derives) > 0 {
		batch.made = make([]made, len(b.derives))
	}
	return batch
}

// Relation of the rows.
func (b *Batch) Relation() *Relation { return b.bound.relation }

// Len is how many rows it has: at least one.
func (b *Batch) Len() int { return b.rows }

// Op of a row.
func (b *Batch) Op(row int) Op { return Op(b.ops[row]) }

// Rows are for a loop over them.
func (b *Batch) Rows() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for currentRow = 0; currentRow < b.rows; currentRow++ {
			if !yield(Row{batch: b, row: currentRow}) {
				break
			}
		}
		currentRow = -1
	}
}

// Row by its index.
func (b *Batch) Row(row int) Row {
	if row < 0 || row >= b.rows {
		panic(fmt.Sprintf("row %d of %d", row, b.rows))
	}
	return Row{batch: b, row: row}
}

func (b *Batch) column(name string) (int, *Column) {
	at, ok := b.bound.found.get(name)
	if !ok {
		if at, ok = b.bound.index[name]; !ok {
			panic(fmt.Sprintf("%s.%s has no column `%s`", b.bound.relation.Schema, b.bound.relation.Table, name))
		}
		b.bound.found.put(name, at)
	}
	return at, &b.bound.columns[at]
}

func (b *Batch) imagesOf(side Side, name string) (images, *Column) {
	at, column := b.column(name)
	reads := b.bound.reads[at]
	if !reads.after && !reads.before {
		panic(fmt.Sprintf("the plan does not read the column `%s`", name))
	}
	if side == After && !reads.after || side == Before && !reads.before {
		panic(fmt.Sprintf("the plan does not read this image of the column `%s`", name))
	}
	after, before := b.images[imageAfter][at], b.images[imageBefore][at]
	switch side {
	case After:
		before = after
	case Before:
		after = before
	}
	return b.imagesFrom(after, before), column
}

func (b *Batch) imagesFrom(after, before *vector) images {
	found := images{b.ops, after, before, nil}
	if after != nil && after.nulls == nil && (after == before || !b.hasDeletes) {
		found.whole = after
	}
	return found
}

// typed are those of a column whose kind fits.
func (b *Batch) typed(side Side, name string, fits func(Kind) bool) images {
	found, column := b.imagesOf(side, name)
	if !fits(column.Kind) {
		panic(fmt.Sprintf("the column `%s` of %s is %v, and not what the call is for", name, b.bound.relation.Table, column.Kind))
	}
	return found
}

// Text is a column of text, decimals or JSON.
func (b *Batch) Text(side Side, column string) TextColumn {
	return TextColumn{b.typed(side, column, Kind.IsText)}
}

// Bytes is a column of bytes.
func (b *Batch) Bytes(side Side, column string) BytesColumn {
	return BytesColumn{b.typed(side, column, func(kind Kind) bool { return kind == Bytes })}
}

// Int64 is a column of int64, dates or times.
func (b *Batch) Int64(side Side, column string) Int64Column {
	return Int64Column{b.typed(side, column, Kind.IsInt64)}
}

// Uint64 is a column of uint64.
func (b *Batch) Uint64(side Side, column string) Uint64Column {
	return Uint64Column{b.typed(side, column, func(kind Kind) bool { return kind == Uint64 })}
}

// Float64 is a column of float64.
func (b *Batch) Float64(side Side, column string) Float64Column {
	return Float64Column{b.typed(side, column, func(kind Kind) bool { return kind == Float64 })}
}

// Bool is a column of booleans.
func (b *Batch) Bool(side Side, column string) BoolColumn {
	return BoolColumn{b.typed(side, column, func(kind Kind) bool { return kind == Boolean })}
}

// MetadataText is what the plan asked for: Position or Transaction.
func (b *Batch) MetadataText(metadata Metadata) TextColumn {
	return TextColumn{b.metadataOf(metadata, metadata == Position || metadata == Transaction)}
}

// MetadataInt64 is what the plan asked for: Place or CommitTime.
func (b *Batch) MetadataInt64(metadata Metadata) Int64Column {
	return Int64Column{b.metadataOf(metadata, metadata == Place || metadata == CommitTime)}
}

func (b *Batch) metadataOf(metadata Metadata, fits bool) images {
	at := slices.Index(b.bound.metadata, metadata)
	if at < 0 || !fits {
		panic(fmt.Sprintf("the plan does not read the metadata %d, or it is of another type", metadata))
	}
	return b.imagesFrom(&b.metadata[at], &b.metadata[at])
}

// Keep drops the rows for which keep says false.
func (b *Batch) Keep(keep func(row int) bool) {
	for row := range b.rows {
		if !keep(row) {
			b.drop(row)
		}
	}
}

func (b *Batch) drop(row int) {
	if b.outcome.Keep == nil {
		b.outcome.Keep = make([]byte, (b.rows+7)/8)
		for i := range b.outcome.Keep {
			b.outcome.Keep[i] = 0xff
		}
	}
	clearBit(b.outcome.Keep, row)
}

// SetAll sets the same value in every row, after the change. nil is NULL.
func (b *Batch) SetAll(column string, value any) {
	at, c := b.column(column)
	last := &b.bound.constants[at]
	text, isText := value.(string)
	// Mostly it is the text of the batch before.
	if !isText || !last.isMade || last.text != text {
		one := newCells(uint16(at), imageAfter, c.Kind, 1)
		if !one.set(0, value) {
			wrongKind(b.bound.relation.Table, c, value)
		}
		*last = constant{text, isText, transform.MakeValuesConstant(one.vector())}
	}
	b.outcome.Assigns = append(b.outcome.Assigns, transform.Assign{Index: uint16(at), Values: last.values})
}

// RewriteText replaces the texts of a column in both images, so that no old value gets past. rewrite appends the new text to out
// and returns it; NULL stays NULL and absent values stay absent.
func (b *Batch) RewriteText(column string, rewrite func(value string, out []byte) []byte) {
	at, _ := b.column(column)
	b.typed(Own, column, Kind.IsText)
	for image := range b.images {
		v := b.images[image][at]
		if v == nil {
			continue
		}
		offsets, data := make([]byte, b.rows*4+4), make([]byte, 0, len(v.data))
		start := uint32(0)
		for row := range b.rows {
			end := binary.LittleEndian.Uint32(v.offsets[row*4+4:])
			if v.nulls == nil || bit(v.nulls, row) {
				data = rewrite(textOf(v.data[start:end]), data)
			}
			start = end
			binary.LittleEndian.PutUint32(offsets[row*4+4:], uint32(len(data)))
		}
		made := types.MakeBufferPacked(types.Varlen{Offsets: offsets, Data: data})
		vector := types.Vector{Kind: uint8(v.kind), Nulls: v.nulls, Present: v.present, Data: made}
		assign := transform.Assign{Index: uint16(at), Image: uint8(image), Values: transform.MakeValuesEach(vector)}
		b.outcome.Assigns = append(b.outcome.Assigns, assign)
	}
}

// RouteAll sends every row to these topics, but those that are routed one by one.
func (b *Batch) RouteAll(topics ...string) {
	b.all = topics
}

// RouteBy sends each row to the topic that topic returns; a row for which that is empty stays.
func (b *Batch) RouteBy(topic func(row int) string) {
	for row := range b.rows {
		name := topic(row)
		if at, ok := b.routed.get(name); ok {
			binary.LittleEndian.PutUint16(b.ofRow[row*2:], uint16(at))
		} else if name != "" {
			b.route(row, name, false)
		}
	}
}

func (b *Batch) route(row int, topic string, also bool) {
	if b.ofRow == nil {
		b.ofRow = bytes.Repeat([]byte{0xff}, b.rows*2)
	}
	list := b.listOf(topic)
	if also {
		list = b.both(binary.LittleEndian.Uint16(b.ofRow[row*2:]), list)
	}
	binary.LittleEndian.PutUint16(b.ofRow[row*2:], list)
}

// both is the list of what have has and of the topic of list.
func (b *Batch) both(have, list uint16) uint16 {
	if have == unrouted {
		return list
	}
	both, ok := b.several[[2]uint16{have, list}]
	if !ok {
		if b.several == nil {
			b.several = map[[2]uint16]uint16{}
		}
		both = b.list(append(slices.Clone(b.lists[have]), b.lists[list]...))
		b.several[[2]uint16{have, list}] = both
	}
	return both
}

// listOf is the list of one topic.
func (b *Batch) listOf(topic string) uint16 {
	if at, ok := b.routed.get(topic); ok {
		return uint16(at)
	}
	list := b.listFound(utf8(topic))
	b.routed.put(topic, int(list))
	return list
}

// To look through a few lists is faster than to hash.
const listsFew = 16

func (b *Batch) listFound(topic string) uint16 {
	if b.single == nil {
		for at, list := range b.lists {
			if len(list) == 1 && list[0] == topic {
				return uint16(at)
			}
		}
		if len(b.lists) < listsFew {
			return b.list([]string{topic})
		}
		b.single = map[string]uint16{}
		for at, list := range b.lists {
			if len(list) == 1 {
				b.single[list[0]] = uint16(at)
			}
		}
	}
	list, ok := b.single[topic]
	if !ok {
		list = b.list([]string{topic})
		b.single[topic] = list
	}
	return list
}

func (b *Batch) list(topics []string) uint16 {
	if len(b.lists) == unrouted {
		panic(fmt.Sprintf("one batch can name %d lists of topics", unrouted))
	}
	b.lists = append(b.lists, topics)
	return uint16(len(b.lists) - 1)
}

func (b *Batch) routing() transform.Routing {
	if b.ofRow == nil {
		if b.all == nil {
			return transform.MakeRoutingUnchanged()
		}
		return transform.MakeRoutingAll(mended(b.all))
	}
	if b.all != nil {
		rest := b.list(mended(b.all))
		for at := 0; at < len(b.ofRow); at += 2 {
			if binary.LittleEndian.Uint16(b.ofRow[at:]) == unrouted {
				binary.LittleEndian.PutUint16(b.ofRow[at:], rest)
			}
		}
	}
	return transform.MakeRoutingByRow(transform.ByRow{Lists: b.lists, Rows: b.ofRow})
}

func mended(topics []string) []string {
	to := make([]string, 0, len(topics))
	for _, topic := range topics {
		to = append(to, utf8(topic))
	}
	return to
}

func (b *Batch) finish() transform.Outcome {
	for _, c := range b.order {
		assign := transform.Assign{Index: c.index, Image: c.image, Rows: c.rows, Values: transform.MakeValuesEach(c.vector())}
		b.outcome.Assigns = append(b.outcome.Assigns, assign)
	}
	b.outcome.Routing = b.routing()
	for at := range b.made {
		if len(b.made[at].origins) > 0 {
			b.outcome.Derived = append(b.outcome.Derived, b.made[at].finish(uint16(at), b.bound.derives[at].columns))
		}
	}
	return b.outcome
}

// made are the rows of one derived table, in the order of their making.
type made struct {
	origins []uint32
	ops     []Op
	values  []madeValue
}

type madeValue struct {
	row    int
	column int
	image  uint8
	value  any
}

// finish gives them as the host wants them: by the rows that they come from.
func (m *made) finish(at uint16, columns []Column) transform.Derived {
	count := len(m.origins)
	order, place := make([]int, count), make([]int, count)
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return m.origins[order[i]] < m.origins[order[j]] })
	derived := transform.Derived{Derivation: at}
	for i, row := range order {
		place[row] = i
		derived.Origins = binary.LittleEndian.AppendUint32(derived.Origins, m.origins[row])
		derived.Ops = append(derived.Ops, uint8(m.ops[row]))
	}
	var set []*cells
	for _, v := range m.values {
		i := slices.IndexFunc(set, func(c *cells) bool { return int(c.index) == v.column && c.image == v.image })
		if i < 0 {
			i = len(set)
			set = append(set, newCells(uint16(v.column), v.image, columns[v.column].Kind, count))
		}
		set[i].set(place[v.row], v.value) // the kind was looked at when it was set
	}
	for _, c := range set {
		vector := c.vector()
		vector.Present = c.rows
		derived.Columns = append(derived.Columns, types.Column{Index: c.index, Image: c.image, Vector: vector})
	}
	return derived
}
