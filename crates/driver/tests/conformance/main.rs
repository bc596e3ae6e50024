//! What every backend must do. Each rule is one generic function, run for io_uring, epoll and, where no
//! kernel is needed, for the fake.

mod bench;
mod world;

mod accept;
mod close;
mod receive;
mod send;
mod starve;
mod wake;

/// Makes a test of each rule for each backend.
macro_rules! rules {
    ($($rule:ident),+ $(,)?) => {
        crate::rules!(@for io_uring, crate::world::Uring, $($rule),+);
        crate::rules!(@for epoll, crate::world::Epoll, $($rule),+);
    };
    (@for $module:ident, $world:ty, $($rule:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $rule() {
                    if let Some(bench) = crate::bench::Bench::<$world>::new(&super::config()) {
                        super::$rule(bench);
                    }
                }
            )+
        }
    };
}
pub(crate) use rules;
