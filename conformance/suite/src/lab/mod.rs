//! (being written)
pub mod canary;
mod loot;
pub mod world;
pub use canary::{Canary, Endpoint, Hit, Proto};
pub use world::World;
