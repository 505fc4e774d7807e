//! Macros that make tests of lists.

/// Makes one test of each behaviour of a transport, in modules `transport::theme`.
///
/// The second argument makes the [`TestBroker`](crate::TestBroker) of one test; it may await.
/// A behaviour that needs a [capability](bus_core::transport::Capability) which the transport does
/// not claim prints `not claimed: …` and passes; the test `summary` prints how many these are.
///
/// The front page of the crate has an example.
#[macro_export]
macro_rules! conformance {
    ($transport:ident, $broker:expr) => {
        $crate::conformance! { @ $transport, $broker;
            background bad_input batch_outcomes batches blanks capabilities claims codecs concurrency configuration
            error_queue evolution faults foreign_replies health idempotency inheritance instances
            kill_switches limits names observing outbox outbox_order panics partitions pauses preparing propagation
            publishing queues rate_limits redelivery refusals repeats request_faults requests retry_waits retrying routing
            scheduling senders sending sent_ids settling shutdown skipping stopping taps times
            unanswered unit_duplicates units_of_work
        }
    };
    (@ $transport:ident, $broker:expr; $($theme:ident)+) => {
        mod $transport {
            #[allow(unused_imports)]
            use super::*;

            async fn broker() -> impl $crate::TestBroker {
                $broker
            }

            #[test]
            fn summary() {
                let themes = &[$((stringify!($theme), $crate::suite::$theme::BEHAVIOURS)),+];
                $crate::run::summarize(stringify!($transport), themes, broker());
            }

            $(
                mod $theme {
                    $crate::$theme! {}
                }
            )+
        }
    };
}

/// Makes one test of each behaviour of an idempotency store, in a module.
///
/// The second argument makes the store of one test; it may await.
///
/// ```
/// use bus_core::idempotency::MemoryIdempotencyStore;
///
/// bus_conformance::idempotency_store!(memory, MemoryIdempotencyStore::new());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! idempotency_store {
    ($name:ident, $store:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn store() -> impl $crate::stores::IdempotencyStore {
                $store
            }

            $crate::store_tests! {}
        }
    };
}

/// Lists the behaviours of a theme, at the foot of its file.
///
/// A behaviour that is not listed is dead code. The macro of the theme's name makes the tests.
macro_rules! behaviours {
    ($theme:ident: $($name:ident $(needs $($need:ident)&+)?),+ $(,)?) => {
        #[doc(hidden)]
        pub const BEHAVIOURS: &[$crate::run::Behaviour] = &[$(
            $crate::run::Behaviour {
                name: stringify!($name),
                needs: &[$($(::bus_core::transport::Capability::$need),+)?],
                run: |broker| Box::pin($name(broker)),
            }
        ),+];

        #[doc(hidden)]
        #[macro_export]
        macro_rules! $theme {
            () => {
                $crate::behaviour_tests! { $theme: $($name),+ }
            };
        }
    };
}

/// Makes the tests of a theme.
#[doc(hidden)]
#[macro_export]
macro_rules! behaviour_tests {
    ($theme:ident: $($name:ident),+) => {
        $(
            #[test]
            fn $name() {
                let theme = (stringify!($theme), $crate::suite::$theme::BEHAVIOURS);
                $crate::run::run(theme, stringify!($name), super::broker());
            }
        )+
    };
}

/// Lists the behaviours of a store, at the foot of their file.
macro_rules! store_behaviours {
    ($($name:ident),+ $(,)?) => {
        const BEHAVIOURS: &[StoreBehaviour] = &[$(
            StoreBehaviour {
                name: stringify!($name),
                run: |store| Box::pin($name(store)),
            }
        ),+];

        #[doc(hidden)]
        #[macro_export]
        macro_rules! store_tests {
            () => {
                $crate::store_behaviour_tests! { $($name),+ }
            };
        }
    };
}

/// Makes the tests of a store.
#[doc(hidden)]
#[macro_export]
macro_rules! store_behaviour_tests {
    ($($name:ident),+) => {
        $(
            #[test]
            fn $name() {
                $crate::stores::run(stringify!($name), store());
            }
        )+
    };
}
