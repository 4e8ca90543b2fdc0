//! The host's side of wit/v0.1, generated. Parameters borrow, so that buffers are lowered straight from Arrow memory.

wasmtime::component::bindgen!({
    path: "../wit/v0.1",
    world: "plugin-with-state",
    ownership: Borrowing { duplicate_if_necessary: true },
});
