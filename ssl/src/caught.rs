//! Panics in OpenSSL's callbacks: they must not unwind through C.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bufferevent::runtime::drop_panic;

thread_local! {
    /// The first panic of a callback that ran on this thread in the call that is under way.
    static CAUGHT: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs a callback. A panic in it is kept for [`take`], and `otherwise` is the answer.
pub(crate) fn catch<T>(otherwise: T, callback: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(callback)).unwrap_or_else(|payload| {
        // A thread that ends keeps none: the call fails all the same.
        let _ =
            CAUGHT.try_with(|caught| caught.set(caught.take().or_else(|| Some(message(payload.as_ref())))));
        // What it said may panic when it is dropped.
        drop_panic(payload);
        otherwise
    })
}

/// What a callback of the call that has just ended panicked with.
pub(crate) fn take() -> Option<String> {
    CAUGHT.try_with(Cell::take).ok().flatten()
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_drop_of_what_a_panic_said_goes_no_further() {
        struct Again;

        impl Drop for Again {
            fn drop(&mut self) {
                // Of no size: what a drop panics with is not dropped.
                std::panic::panic_any(());
            }
        }

        assert_eq!(catch(1, || std::panic::panic_any(Again)), 1);
        assert_eq!(take().as_deref(), Some("no message"));
    }

    #[test]
    fn the_first_panic_is_kept_and_taken_once() {
        assert_eq!(catch(1, || 2), 2);
        assert_eq!(take(), None);
        assert_eq!(catch(1, || panic!("first")), 1);
        assert_eq!(catch(1, || panic!("second {}", 2)), 1);
        assert_eq!(take().as_deref(), Some("first"));
        assert_eq!(take(), None);
    }
}
