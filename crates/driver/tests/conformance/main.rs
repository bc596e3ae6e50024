//! What every backend must do. Each rule is one generic function, run for io_uring, epoll and,
//! where no kernel is needed, for the fake.

mod bench;
mod world;

mod accept;
mod chaos;
mod close;
mod connect;
mod receive;
mod send;
mod starve;
mod wake;

/// Makes a test of each rule for each backend.
macro_rules! rules {
    ($($rule:ident),+ $(,)?) => {
        crate::kernel_rules!($($rule),+);
        #[cfg(feature = "fake")]
        crate::kernel_rules!(@for fake, crate::world::Fake, $($rule),+);
    };
}
pub(crate) use rules;

/// The same for rules that need a kernel.
macro_rules! kernel_rules {
    ($($rule:ident),+ $(,)?) => {
        crate::kernel_rules!(@for io_uring, crate::world::Uring, $($rule),+);
        crate::kernel_rules!(@for epoll, crate::world::Epoll, $($rule),+);
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
pub(crate) use kernel_rules;
