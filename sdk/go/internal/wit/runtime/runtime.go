//go:build wasm

// Package runtime holds on to memory that crosses the boundary, so that the collector leaves it alone.
package runtime

import (
	"fmt"
	"unsafe"
)

// Pinner names memory of which the host has the address. The collector moves nothing that is on the heap, so that naming is enough;
// the Pinner of Go's runtime, which also tells the collector, takes ten times as long.
type Pinner struct{ held []unsafe.Pointer }

// Pin keeps what is there until Unpin.
func (p *Pinner) Pin(pointer unsafe.Pointer) { p.held = append(p.held, pointer) }

// Unpin lets go of all of it.
func (p *Pinner) Unpin() {
	clear(p.held)
	p.held = p.held[:0]
}

// Allocate returns memory that stays until the pinner lets go of it.
func Allocate(pinner *Pinner, size, align uintptr) unsafe.Pointer {
	pointer := allocateRaw(size, align)
	pinner.Pin(pointer)
	return pointer
}

func allocateRaw(size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	if size%align != 0 {
		panic(fmt.Sprintf("size %v is not compatible with alignment %v", size, align))
	}
	switch align {
	case 1:
		return unsafe.Pointer(unsafe.SliceData(make([]uint8, size)))
	case 2:
		return unsafe.Pointer(unsafe.SliceData(make([]uint16, size/align)))
	case 4:
		return unsafe.Pointer(unsafe.SliceData(make([]uint32, size/align)))
	case 8:
		return unsafe.Pointer(unsafe.SliceData(make([]uint64, size/align)))
	default:
		panic(fmt.Sprintf("unsupported alignment: %v", align))
	}
}

// What the host has allocated for the call that begins.
var pinner = Pinner{}

// Unpin lets go of it, once Go values point to it.
func Unpin() {
	pinner.Unpin()
}

// What the host allocates next is a piece of this, unless it is large: it comes in many pieces, of which most are small. A piece is never
// given out again, and a chunk lives as long as one of its pieces.
var (
	chunk []uint64
	used  uintptr
)

const (
	chunkBytes = 16 << 10
	pieceMax   = 2 << 10
)

//go:wasmexport cabi_realloc
func cabiRealloc(oldPointer unsafe.Pointer, oldSize, align, newSize uintptr) unsafe.Pointer {
	if oldPointer != nil || oldSize != 0 {
		panic("cabi_realloc of what is there")
	}
	if newSize == 0 {
		return nil
	}
	if newSize > pieceMax {
		return Allocate(&pinner, newSize, align)
	}
	from := (used + align - 1) &^ (align - 1)
	if chunk == nil || from+newSize > chunkBytes {
		// It may have pieces of this call, to which no Go value points yet.
		pinner.Pin(unsafe.Pointer(unsafe.SliceData(chunk)))
		chunk, from = make([]uint64, chunkBytes/8), 0
	}
	used = from + newSize
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(chunk)), from)
}
