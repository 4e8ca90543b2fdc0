//! The limits of one instance, and the memory that it has taken.

use wasmtime::{ResourceLimiter, Result, StoreLimits, StoreLimitsBuilder};

pub(super) struct Limits {
    limits: StoreLimits,
    /// Of all its linear memories.
    bytes: usize,
}

impl Limits {
    pub(super) fn new(memory_bytes_max: usize) -> Limits {
        // Far above what a component of one or two core modules has; a guest cannot make more than it declares.
        let limits = StoreLimitsBuilder::new()
            .memory_size(memory_bytes_max)
            .table_elements(1_000_000)
            .instances(64)
            .tables(64)
            .memories(16)
            .trap_on_grow_failure(true)
            .build();
        Limits { limits, bytes: 0 }
    }

    /// Linear memory never shrinks: this is what the instance has, and the most that it ever had.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let is_allowed = self.limits.memory_growing(current, desired, maximum)?;
        if is_allowed {
            self.bytes += desired - current;
        }
        Ok(is_allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        self.limits.memory_grow_failed(error)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.limits.table_growing(current, desired, maximum)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        self.limits.table_grow_failed(error)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}
