//! Write Tidegate plugins in Rust: implement [`Plugin`], call [`export!`], build for `wasm32-unknown-unknown`.
//!
//! A plugin gets the changes of a table in batches, column by column, and only the columns that it asked for. There are two ways
//! to look at a batch: row by row ([`Batch::rows`]), which reads naturally, and column by column ([`Batch::text`] and its
//! siblings, [`Batch::rewrite_text`]), which is faster. README.md has an example of each.

pub mod batch;
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "plugin-with-state",
        pub_export_macro: true,
        default_bindings_module: "tidegate_plugin::bindings",
    });
}
pub mod column;
mod derived;
pub mod log;
mod outcome;
pub mod plan;
pub mod relation;
pub mod row;
pub mod state;
pub mod test;

use std::cell::RefCell;
use std::marker::PhantomData;

pub use batch::Batch;
pub use column::Value;
pub use derived::DerivedRow;
pub use plan::{Derivation, Plan};
pub use relation::{Column, Kind, Op, Relation};
pub use row::Row;

use bindings::exports::tidegate::plugin::transform as wit;

/// What a plugin is. Each lane of a pipeline has an instance of its own; calls never overlap.
pub trait Plugin: Sized + 'static {
    /// Called once, first. `config` is the manifest's `config` of this plugin as JSON, `{}` if there is none.
    /// An `Err` is what `tidegate check` shows.
    fn configure(config: &str) -> Result<Self, String>;

    /// Called once for each table that passes (again when its columns have changed). `None`: its rows do not concern this
    /// plugin. Must give the same plan for the same relation.
    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String>;

    /// At least one row of a relation for which `bind` gave a plan, in source order. An `Err` stops the pipeline; one row that
    /// cannot be processed is better reported by [`Row::fail`].
    fn process(&mut self, batch: &Batch) -> Result<(), String>;
}

/// Makes `$plugin` the plugin of this component. Once a crate.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        type TidegateGuest = $crate::Guest<$plugin>;
        $crate::bindings::export!(TidegateGuest with_types_in $crate::bindings);
    };
}

/// A plugin and the relations that it is bound to.
pub(crate) struct Running<P> {
    plugin: P,
    bound: Vec<batch::Bound>,
}

trait Run {
    fn bind(&mut self, relation: Relation) -> Result<Option<wit::Plan>, String>;
    fn process(&mut self, relation: u32, batch: wit::Batch) -> Result<wit::Outcome, String>;
}

impl<P: Plugin> Running<P> {
    pub(crate) fn new(config: &str) -> Result<Running<P>, String> {
        Ok(Running { plugin: P::configure(config)?, bound: Vec::new() })
    }
}

impl<P: Plugin> Run for Running<P> {
    fn bind(&mut self, relation: Relation) -> Result<Option<wit::Plan>, String> {
        let Some(plan) = self.plugin.bind(&relation)? else { return Ok(None) };
        let (wire, names) = plan.finish(&relation)?;
        self.bound.push(batch::Bound::new(relation, names, &wire));
        Ok(Some(wire))
    }

    fn process(&mut self, relation: u32, batch: wit::Batch) -> Result<wit::Outcome, String> {
        let bound = self.bound.iter().rfind(|b| b.relation.id == relation).ok_or("rows of a relation that was not bound")?;
        let batch = Batch::new(bound, batch);
        self.plugin.process(&batch)?;
        Ok(batch.finish())
    }
}

thread_local! {
    static RUNNING: RefCell<Option<Box<dyn Run>>> = const { RefCell::new(None) };
}

/// The component's exports on behalf of `P`: what [`export!`] names.
#[doc(hidden)]
pub struct Guest<P>(PhantomData<P>);

impl<P: Plugin> wit::Guest for Guest<P> {
    fn configure(config: String) -> Result<(), String> {
        log::install_panic_hook();
        let running = Running::<P>::new(&config)?;
        RUNNING.set(Some(Box::new(running)));
        Ok(())
    }

    fn bind(relation: wit::Relation) -> Result<Option<wit::Plan>, String> {
        with_running(|running| running.bind(Relation::from(relation)))
    }

    fn process(relation: u32, rows: wit::Batch) -> Result<wit::Outcome, String> {
        with_running(|running| running.process(relation, rows))
    }
}

fn with_running<R>(call: impl FnOnce(&mut dyn Run) -> Result<R, String>) -> Result<R, String> {
    RUNNING.with_borrow_mut(|running| call(running.as_mut().ok_or("configure was not called")?.as_mut()))
}
