//! A bound on the memory of many bufferevents together, which takes hold in stages.

mod held;
mod idle;
mod limit;
mod member;
mod stage;
mod waiting;

pub(crate) use self::member::Member;
pub use self::{
    limit::{MemoryLimit, MemoryLimitBuilder},
    stage::MemoryStage,
};
