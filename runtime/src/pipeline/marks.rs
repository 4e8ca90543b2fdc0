//! Marks that are put by hand: `tidegate cursor set` and `reset` of an exactly-once pipeline, whose place is in its target.

use std::sync::Arc;

use super::{PipelineError, SINK_ANSWER_TIME_MAX};
use crate::manifest::model::{Delivery, Pipeline};
use crate::position::Position;
use crate::sink::{Mark, SinkError};

/// The marks of all lanes of a pipeline, level at `position`.
pub(super) fn level(pipeline: &Pipeline, position: &Position) -> Vec<Mark> {
    let (lanes, ordering, resume) = (pipeline.lanes as u32, pipeline.ordering, Arc::new(position.clone()));
    (0..lanes).map(|lane| Mark { lane, lanes, ordering, resume: Arc::clone(&resume), partial: None }).collect()
}

/// Lets an exactly-once pipeline go on at `position`, or forget where it stood; does nothing for others. Asks the target once: a
/// target that is away is an error, after which nothing has changed.
pub async fn put(pipeline: &Pipeline, position: Option<&Position>) -> Result<(), PipelineError> {
    if pipeline.delivery == Delivery::AtLeastOnce {
        return Ok(());
    }
    let marks = position.map_or_else(Vec::new, |position| level(pipeline, position));
    for route in &pipeline.routes {
        let name = &route.sink.name;
        let away = |reason: String| SinkError::Configuration {
            reason,
            hint: format!(
                "pipeline `{}` keeps its place in this sink: start it, then try again; nothing was changed",
                pipeline.name
            ),
        };
        let write = async {
            let sink = crate::sink::open(name, &route.sink.config, &pipeline.name)?;
            match tokio::time::timeout(SINK_ANSWER_TIME_MAX, sink.set_marks(&pipeline.name, &marks)).await {
                Ok(Err(SinkError::Retry(reason))) => Err(away(reason)),
                Ok(written) => written,
                Err(_) => Err(away(format!("no answer within {} s", SINK_ANSWER_TIME_MAX.as_secs()))),
            }
        };
        write.await.map_err(|error| PipelineError::Sink { sink: name.clone(), error })?;
    }
    Ok(())
}
