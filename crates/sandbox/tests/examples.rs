//! The examples of the library, so that they cannot rot: 200 sandboxes at once, twice.

#[path = "../examples/threads.rs"]
#[expect(dead_code, reason = "its `main` is for a run by hand")]
mod threads;
#[path = "../examples/tokio.rs"]
#[expect(dead_code, reason = "its `main` is for a run by hand")]
mod tokio_example;

/// How many sandboxes run at the same time.
const COUNT: usize = 200;

#[test]
fn many_threads_with_a_sandbox_each() {
    threads::run(COUNT).expect("every one as it should be");
}

#[test]
fn many_futures_with_a_sandbox_each() {
    tokio_example::run(COUNT).expect("every one as it should be");
}
