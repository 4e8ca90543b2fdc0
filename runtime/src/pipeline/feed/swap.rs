//! New plugins take the place of old ones, between two transactions: all rows before that position leave for the lanes first, and every
//! lane is handed its new instances at the same place of its queue. So no row is seen by both, and none by neither.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Ended, Reading, told_to_stop};
use crate::batcher::Wanted;
use crate::failpoint;
use crate::lane::worker::{NewPlugins, Work};
use crate::pipeline::PipelineError;
use crate::pipeline::seat::{Answer, Swap};
use crate::source::binlog::error::Refusal;

impl Reading {
    /// Takes what is due, if anything is, and if the stream stands between two transactions.
    pub(super) async fn swap(&mut self) -> Result<Option<Ended>, PipelineError> {
        if !self.feed.seat.is_due() || self.feed.decoder.is_in_transaction() {
            return Ok(None);
        }
        if self.feed.seat.ends_round() {
            return Ok(Some(self.send_everything().await?.unwrap_or(Ended::Letters)));
        }
        let Some(mut swap) = self.feed.seat.take() else { return Ok(None) };
        // What was not met when the plugins were made ready is bound now: the last moment to refuse.
        let wanted = match self.wanted(&mut swap) {
            Ok(wanted) => wanted,
            Err(refusal) => {
                swap.answer(&Answer::Refused(refusal.to_string()));
                return Ok(None);
            }
        };
        if let Some(ended) = self.send_everything().await? {
            return Ok(Some(ended));
        }
        let mut permits = Vec::with_capacity(self.feed.senders.len());
        for sender in self.feed.senders.clone() {
            tokio::select! {
                permit = sender.reserve_owned() => match permit {
                    Ok(permit) => permits.push(permit),
                    Err(_) => return Ok(Some(Ended::LaneFailed)),
                },
                () = told_to_stop(&mut self.feed.stop) => return Ok(Some(Ended::Stopped)),
            }
        }
        let began = Instant::now();
        let Swap { plugins, chains, wants, follow, changes_columns, .. } = &mut swap;
        let wants = std::mem::replace(wants, Box::new(|_| Ok(None)));
        self.feed.decoder.take_wants(wants, wanted);
        if let Some(of_feed) = &mut self.feed.follow {
            of_feed.chain = follow.take();
        }
        if let Some(weave) = &mut self.weave {
            weave.forget_plans();
        }
        let (tell, mut told) = mpsc::unbounded_channel();
        for (permit, chain) in permits.into_iter().zip(chains.drain(..)) {
            let new = NewPlugins { chain, forgets_tables: *changes_columns, tell: tell.clone() };
            permit.send(Work::Plugins(Box::new(new)));
            failpoint::pass("swap-sent");
        }
        drop(tell);
        self.feed.seat.set(std::mem::take(plugins));
        let held_up = began.elapsed();
        let (position, lanes, name) = (self.feed.executed.to_string(), self.feed.senders.len(), self.feed.status.name.clone());
        let answers = swap.take_answers();
        tokio::spawn(async move {
            let (mut longest, mut count) = (Duration::ZERO, 0);
            while let Some(took) = told.recv().await {
                longest = longest.max(took);
                count += 1;
            }
            if count < lanes {
                // The pipeline has ended, or begins anew: with these plugins, from where not all is settled.
                tracing::debug!(pipeline = name, "{} of {lanes} lanes had no work left for the new plugins", lanes - count);
            }
            let pause = held_up + longest;
            tracing::debug!(pipeline = name, pause_us = pause.as_micros() as u64, "new plugins from {position} on");
            for answer in answers {
                let _ = answer.send(Answer::Swapped { position: position.clone(), pause });
            }
        });
        Ok(None)
    }

    fn wanted(&self, swap: &mut Swap) -> Result<Vec<Option<Wanted>>, Refusal> {
        self.feed.decoder.relations().map(|relation| (swap.wants)(relation)).collect()
    }
}
