//! Sink `null`: takes every row and keeps none; for measuring the flow up to a sink.

use std::sync::Arc;

use async_trait::async_trait;

use super::{BeforeNeed, Delivery, Finding, Mark, Sink, SinkError, Writer};
use crate::change::Relation;

pub struct NullSink;

#[async_trait]
impl Sink for NullSink {
    /// All, so that a measurement decodes every column.
    fn before_need(&self) -> BeforeNeed {
        BeforeNeed::All
    }

    fn is_transactional(&self) -> bool {
        false
    }

    async fn check(&self, _relations: &[Arc<Relation>]) -> Vec<Finding> {
        Vec::new()
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, SinkError> {
        Ok(Box::new(NullWriter))
    }

    async fn marks(&self, _pipeline: &str) -> Result<Vec<Mark>, SinkError> {
        Ok(Vec::new())
    }

    async fn set_marks(&self, _pipeline: &str, _marks: &[Mark]) -> Result<(), SinkError> {
        Ok(())
    }
}

struct NullWriter;

#[async_trait]
impl Writer for NullWriter {
    async fn write(&mut self, _delivery: &Delivery<'_>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write_unfolded(&mut self, _delivery: &Delivery<'_>) -> Result<(), SinkError> {
        Ok(())
    }
}
