package plugin

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	types "tidegate/plugin/internal/bindings/tidegate_plugin_types"
)

// Absent is the value of a column that a row's image does not have, so that it is not known (binlog_row_image = MINIMAL). NULL is nil.
var Absent any = absent{}

type absent struct{}

func (absent) String() string { return "absent" }

// vector is one image of a column. nulls and present are nil where every row has a value.
type vector struct {
	kind           Kind
	nulls, present []byte
	offsets, data  []byte
	words          []uint64 // in place of both
}

func vectorOf(wire *types.Vector) vector {
	v := vector{kind: Kind(wire.Kind)}
	if len(wire.Nulls) > 0 {
		v.nulls = wire.Nulls
	}
	if len(wire.Present) > 0 {
		v.present = wire.Present
	}
	switch wire.Data.Tag() {
	case types.Buffer_Packed:
		packed := wire.Data.Packed()
		v.offsets, v.data = packed.Offsets, packed.Data
	case types.Buffer_Bits:
		v.data = wire.Data.Bits()
	default:
		// Little-endian, as WebAssembly and the machines that plugins are written on.
		words := wire.Data.Words()
		v.words = unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(words))), len(words)/8)
	}
	return v
}

func bit(bits []byte, i int) bool { return bits[i/8]>>(i%8)&1 == 1 }
func setBit(bits []byte, i int)   { bits[i/8] |= 1 << (i % 8) }
func clearBit(bits []byte, i int) { bits[i/8] &^= 1 << (i % 8) }

func (v *vector) bytes(row int) []byte {
	from, to := binary.LittleEndian.Uint32(v.offsets[row*4:]), binary.LittleEndian.Uint32(v.offsets[row*4+4:])
	return v.data[from:to:to]
}

func (v *vector) text(row int) string { return textOf(v.bytes(row)) }

// textOf does not copy: strings share the buffer of the batch, which is never written.
func textOf(value []byte) string { return unsafe.String(unsafe.SliceData(value), len(value)) }

// value of any kind; nil is NULL.
func (v *vector) value(row int) any {
	switch {
	case v.nulls != nil && !bit(v.nulls, row):
		return nil
	case v.kind == Boolean:
		return bit(v.data, row)
	case v.kind == Uint64:
		return v.words[row]
	case v.kind == Float64:
		return math.Float64frombits(v.words[row])
	case v.kind == Bytes:
		return v.bytes(row)
	case v.kind.IsText():
		return v.text(row)
	default:
		return int64(v.words[row])
	}
}

// images are both of a column, and which one counts for which row.
type images struct {
	ops           []uint8
	after, before *vector // nil: not passed, so that every value is NULL
	whole         *vector // has the value of every row; nil: none does
}

func (i *images) ofRow(row int) *vector {
	if i.ops[row] == uint8(Delete) {
		return i.before
	}
	return i.after
}

// of is the image in which the row has a value, or nil.
func (i *images) of(row int) *vector {
	v := i.ofRow(row)
	if v == nil || v.nulls != nil && !bit(v.nulls, row) {
		return nil
	}
	return v
}

// TextColumn is a column of text, decimals or JSON.
type TextColumn struct{ images images }

// BytesColumn is a column of bytes.
type BytesColumn struct{ images images }

// Int64Column is a column of int64, dates or times.
type Int64Column struct{ images images }

// Uint64Column is a column of uint64.
type Uint64Column struct{ images images }

// Float64Column is a column of float64.
type Float64Column struct{ images images }

// BoolColumn is a column of booleans.
type BoolColumn struct{ images images }

// At returns the value of a row; false: NULL, not in the row's image, or the row does not have this image.
func (c *TextColumn) At(row int) (string, bool) {
	if v := c.images.whole; v != nil {
		return v.text(row), true
	}
	if v := c.images.of(row); v != nil {
		return v.text(row), true
	}
	return "", false
}

// At is as that of TextColumn. The bytes must not be written.
func (c *BytesColumn) At(row int) ([]byte, bool) {
	if v := c.images.whole; v != nil {
		return v.bytes(row), true
	}
	if v := c.images.of(row); v != nil {
		return v.bytes(row), true
	}
	return nil, false
}

// At is as that of TextColumn.
func (c *Int64Column) At(row int) (int64, bool) {
	if v := c.images.whole; v != nil {
		return int64(v.words[row]), true
	}
	return c.ofImage(row)
}

// ofImage stands apart, so that At is small enough to become a part of the plugin's loops.
//
//go:noinline
func (c *Int64Column) ofImage(row int) (int64, bool) {
	if v := c.images.of(row); v != nil {
		return int64(v.words[row]), true
	}
	return 0, false
}

// At is as that of TextColumn.
func (c *Uint64Column) At(row int) (uint64, bool) {
	if v := c.images.whole; v != nil {
		return v.words[row], true
	}
	return c.ofImage(row)
}

// ofImage stands apart, so that At is small enough to become a part of the plugin's loops.
//
//go:noinline
func (c *Uint64Column) ofImage(row int) (uint64, bool) {
	if v := c.images.of(row); v != nil {
		return v.words[row], true
	}
	return 0, false
}

// At is as that of TextColumn.
func (c *Float64Column) At(row int) (float64, bool) {
	if v := c.images.whole; v != nil {
		return math.Float64frombits(v.words[row]), true
	}
	return c.ofImage(row)
}

// ofImage stands apart, so that At is small enough to become a part of the plugin's loops.
//
//go:noinline
func (c *Float64Column) ofImage(row int) (float64, bool) {
	if v := c.images.of(row); v != nil {
		return math.Float64frombits(v.words[row]), true
	}
	return 0, false
}

// At is as that of TextColumn.
func (c *BoolColumn) At(row int) (bool, bool) {
	if v := c.images.of(row); v != nil {
		return bit(v.data, row), true
	}
	return false, false
}

// cells are values of one column of one image that were set row by row.
type cells struct {
	index    uint16
	image    uint8
	kind     Kind
	count    int
	rows     []byte // bitmap: which are set
	nulls    []byte
	hasNulls bool
	fixed    []byte   // words and bits
	spans    [][2]int // of values of variable length: where each row's is in data
	data     []byte
}

func newCells(index uint16, image uint8, kind Kind, count int) *cells {
	c := &cells{index: index, image: image, kind: kind, count: count, rows: make([]byte, (count+7)/8), nulls: make([]byte, (count+7)/8)}
	switch {
	case kind == Boolean:
		c.fixed = make([]byte, (count+7)/8)
	case kind.IsText() || kind == Bytes:
		c.spans = make([][2]int, count)
	default:
		c.fixed = make([]byte, count*8)
	}
	return c
}

// mark says that a row is set, and whether to NULL.
func (c *cells) mark(row int, isNull bool) {
	setBit(c.rows, row)
	if isNull {
		c.hasNulls = true
		clearBit(c.nulls, row)
	} else {
		setBit(c.nulls, row)
	}
}

func (c *cells) setText(row int, value string) {
	c.mark(row, false)
	start := len(c.data)
	c.data = append(c.data, value...)
	c.spans[row] = [2]int{start, len(c.data)}
}

func (c *cells) setWord(row int, word uint64) {
	c.mark(row, false)
	binary.LittleEndian.PutUint64(c.fixed[row*8:], word)
}

// set returns false for a value that does not fit the kind.
func (c *cells) set(row int, value any) bool {
	switch value := value.(type) {
	case nil:
		c.mark(row, true)
	case bool:
		if c.kind != Boolean {
			return false
		}
		c.mark(row, false)
		if value {
			setBit(c.fixed, row)
		} else {
			clearBit(c.fixed, row)
		}
	case int:
		return c.set(row, int64(value))
	case int64:
		if !c.kind.IsInt64() {
			return false
		}
		c.setWord(row, uint64(value))
	case uint64:
		if c.kind != Uint64 {
			return false
		}
		c.setWord(row, value)
	case float64:
		if c.kind != Float64 {
			return false
		}
		c.setWord(row, math.Float64bits(value))
	case string:
		if !c.kind.IsText() {
			return false
		}
		c.setText(row, value)
	case []byte:
		if c.kind != Bytes {
			return false
		}
		c.setText(row, unsafe.String(unsafe.SliceData(value), len(value)))
	default:
		return false
	}
	return true
}

func (c *cells) vector() types.Vector {
	v := types.Vector{Kind: uint8(c.kind)}
	if c.hasNulls {
		v.Nulls = c.nulls
	}
	switch {
	case c.kind == Boolean:
		v.Data = types.MakeBufferBits(c.fixed)
	case c.spans == nil:
		v.Data = types.MakeBufferWords(c.fixed)
	default:
		out := newPacked(c.count, len(c.data))
		for _, span := range c.spans {
			out.data = append(out.data, c.data[span[0]:span[1]]...)
			out.end()
		}
		v.Data = out.buffer()
	}
	return v
}

// packed are values of variable length, one after the other.
type packed struct{ offsets, data []byte }

func newPacked(rows, bytes int) packed {
	return packed{make([]byte, 4, rows*4+4), make([]byte, 0, bytes)}
}

// end of the value whose bytes were appended to data.
func (p *packed) end() {
	p.offsets = binary.LittleEndian.AppendUint32(p.offsets, uint32(len(p.data)))
}

func (p *packed) buffer() types.Buffer {
	return types.MakeBufferPacked(types.Varlen{Offsets: p.offsets, Data: p.data})
}

func wrongKind(table string, column *Column, value any) {
	panic(fmt.Sprintf("a value of type %T for the column `%s` of %s, which is %v", value, column.Name, table, column.Kind))
}
