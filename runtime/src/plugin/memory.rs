//! The limits of one instance, and the memory that it has taken.

use wasmtime::{ResourceLimiter, Result, StoreLimits, StoreLimitsBuilder};

/// What an element of a table takes.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// All memories and tables together would be larger than the plugin's limit.
#[derive(Debug, thiserror::Error)]
#[error("its memories and tables together are larger than its limit")]
pub(super) struct TooLarge;

pub(super) struct Limits {
    limits: StoreLimits,
    bytes_max: usize,
    /// Of all its linear memories.
    bytes: usize,
    /// Of all its tables.
    table_bytes: usize,
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
        Limits { limits, bytes_max: memory_bytes_max, bytes: 0, table_bytes: 0 }
    }

    /// Linear memory never shrinks: this is what the instance has, and the most that it ever had.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A component may have several memories and tables: what counts is all of them.
    fn has_room(&self, more: usize) -> Result<()> {
        let bytes = self.bytes.saturating_add(self.table_bytes).saturating_add(more);
        if bytes > self.bytes_max { Err(TooLarge.into()) } else { Ok(()) }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let is_allowed = self.limits.memory_growing(current, desired, maximum)?;
        if is_allowed {
            self.has_room(desired - current)?;
            self.bytes += desired - current;
        }
        Ok(is_allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        self.limits.memory_grow_failed(error)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let is_allowed = self.limits.table_growing(current, desired, maximum)?;
        if is_allowed {
            let more = (desired - current).saturating_mul(ELEMENT_BYTES);
            self.has_room(more)?;
            self.table_bytes += more;
        }
        Ok(is_allowed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_all_memories_and_tables() {
        let mut limits = Limits::new(64 << 20);
        assert!(limits.memory_growing(0, 40 << 20, None).unwrap());
        assert!(limits.memory_growing(0, 40 << 20, None).unwrap_err().is::<TooLarge>());
        assert!(limits.memory_growing(0, 20 << 20, None).unwrap());
        assert!(limits.table_growing(0, 500_000, None).unwrap());
        assert!(limits.table_growing(0, 500_000, None).unwrap_err().is::<TooLarge>());
        assert_eq!(limits.bytes(), 60 << 20);
    }
}
