//! All behaviours, listed once, and how they become tests.

use std::future::Future;
use std::time::Duration;

use crate::outcome::Outcome;
use crate::stage::Stage;

/// No behaviour may take longer, whatever it waits for.
const DEADLINE: Duration = Duration::from_secs(180);

/// Runs one behaviour.
///
/// # Panics
/// If it fails or is not through in time, with its name.
pub async fn run<'a, Fut: Future<Output = Outcome>>(
    name: &str,
    stage: &'a dyn Stage,
    behaviour: impl FnOnce(&'a dyn Stage) -> Fut,
) {
    let outcome = tokio::time::timeout(DEADLINE, behaviour(stage))
        .await
        .unwrap_or_else(|_| panic!("`{name}` was not through in {DEADLINE:?}"));
    if let Err(failure) = outcome {
        panic!("`{name}` failed at {failure:?}");
    }
}

/// Makes one `#[tokio::test]` for each behaviour, in modules `transport::theme`.
///
/// `$stage` makes the stage of one test; it may await.
#[macro_export]
macro_rules! conformance {
    ($transport:ident, $stage:expr) => {
        mod $transport {
            $crate::behaviours! { $stage;
                bad_input {
                    bodies_that_are_no_envelope_are_set_aside,
                    an_id_that_is_no_uuid_is_an_error,
                    foreign_ids_outside_of_the_envelope_may_be_any_text,
                    deep_nesting_neither_crashes_nor_blocks,
                    headers_of_every_kind_are_carried,
                    framework_headers_of_the_wrong_kind_hurt_nobody,
                    a_flood_of_headers_is_set_aside,
                    a_large_body_arrives_whole,
                    a_body_beyond_the_limit_costs_its_sender_alone,
                    a_bad_message_does_not_hold_up_the_queue,
                    a_reader_that_panics_fails_its_message_alone,
                    a_consumer_of_everything_gets_garbage_too,
                }
                blanks {
                    blank_ids_and_addresses_are_absent,
                    the_fault_of_a_message_with_blank_addresses_is_published,
                    an_answer_to_a_blank_address_is_published,
                    messages_with_blank_ids_are_no_duplicates,
                }
                claims {
                    endpoints_that_share_a_store_do_not_disturb_each_other,
                    instances_that_share_a_store_handle_a_message_once,
                    a_handled_message_is_forgotten_in_time,
                    a_claim_lasts_as_long_as_its_consumer,
                    a_store_that_fails_is_waited_for,
                    a_store_that_never_answers_does_not_stop_the_consumer,
                    a_consumer_whose_claim_was_lost_has_sent_nothing,
                    a_claim_is_not_given_up_once_something_has_left,
                    duplicates_that_wait_hold_nobody_up,
                    order_is_kept_while_a_key_is_held,
                }
                codecs {
                    bare_json_reaches_the_only_consumer,
                    bare_json_for_several_consumers_needs_a_type,
                    bare_json_carries_its_metadata_in_headers,
                    the_content_type_says_how_a_message_is_read,
                    an_unknown_content_type_is_set_aside,
                    a_consumer_writes_as_its_endpoint_does,
                    requests_work_across_codecs,
                    a_bus_may_write_bare_json,
                }
                concurrency {
                    the_limit_holds_over_all_types,
                    prefetch_bounds_what_is_handed_out,
                    concurrency_1_keeps_the_order,
                    the_second_message_waits_for_the_first,
                    the_limit_of_the_endpoint_wins,
                    a_long_queue_is_worked_off,
                    a_paused_endpoint_leaves_messages_in_its_queue,
                    pausing_waits_for_what_runs,
                    pausing_twice_is_fine,
                    at_most_once_acknowledges_first,
                }
                configuration {
                    all_mistakes_are_told_before_anything_is_declared,
                    a_queue_with_another_argument_is_named,
                    a_queue_without_our_argument_is_named,
                    an_exchange_of_another_kind_is_named,
                    a_publisher_with_another_exchange_kind_is_refused,
                    a_failed_start_does_not_stand_in_the_way_of_the_next,
                    settings_that_contradict_themselves_are_mistakes,
                }
                error_queue {
                    a_failed_message_is_kept_as_it_came,
                    headers_of_the_kept_message_say_why,
                    a_failed_message_is_in_one_place,
                    failed_messages_may_be_discarded,
                    an_error_queue_may_have_a_consumer,
                    a_kept_message_does_not_expire,
                    a_message_moved_back_is_consumed_as_new,
                    a_very_long_error_text_is_cut,
                    a_message_with_huge_headers_is_kept,
                    messages_that_cannot_be_moved_hold_nobody_up,
                    messages_that_cannot_be_moved_go_back_at_the_end,
                }
                evolution {
                    unknown_members_are_ignored,
                    missing_optional_members_are_absent,
                    a_missing_required_member_is_an_error,
                    a_value_of_the_wrong_kind_is_an_error,
                    an_unknown_variant_is_an_error,
                    variants_arrive_as_what_they_were,
                    extreme_values_arrive_unchanged,
                    a_known_type_among_unknown_ones_is_found,
                    foreign_spellings_of_the_envelope_are_accepted,
                }
                faults {
                    a_fault_is_the_same_until_its_message_was_moved_back,
                    a_fault_tells_what_failed_and_why,
                    a_fault_goes_to_its_address,
                    faults_need_not_be_published,
                    a_failing_fault_consumer_raises_no_fault,
                    a_message_that_cannot_be_read_raises_a_receive_fault,
                    a_failing_middleware_fails_the_message,
                    a_fault_that_cannot_be_delivered_holds_nothing_up,
                    a_stop_does_not_wait_for_a_fault,
                }
                health {
                    a_reply_queue_that_is_not_there_is_named,
                    it_says_whether_the_bus_runs,
                    a_paused_endpoint_says_so,
                    a_queue_that_cannot_be_consumed_is_named,
                }
                foreign_replies {
                    a_foreign_reply_is_read_as_an_endpoint_reads,
                    a_broken_reply_is_an_error_and_no_timeout,
                }
                idempotency {
                    a_duplicate_is_not_handled_again,
                    racing_duplicates_run_once,
                    a_failed_message_may_come_again,
                    a_retry_is_no_duplicate,
                    a_business_key_tells_duplicates_with_different_ids,
                    a_header_may_name_the_key,
                    a_key_belongs_to_one_message,
                    a_key_with_other_content_is_an_error,
                    messages_without_an_id_are_all_handled,
                    a_duplicate_request_gets_the_stored_reply,
                }
                inheritance {
                    a_base_contract_gets_each_derived_message_once,
                    the_most_specific_consumer_of_an_endpoint_runs,
                    a_consumer_of_a_base_sees_the_published_type,
                    a_derived_subscription_does_not_get_the_base,
                    unrelated_base_contracts_both_get_the_message,
                    a_base_hears_all_publishers,
                    a_new_version_reaches_subscribers_of_the_old_one,
                    an_alias_is_still_accepted,
                    generic_contracts_differ_by_their_arguments,
                    a_fault_of_a_derived_message_is_one_of_its_base,
                }
                instances {
                    instances_of_a_service_share_its_events,
                    a_busy_instance_leaves_work_to_the_other,
                    many_instances_handle_everything_once,
                    a_per_instance_endpoint_lives_with_its_process,
                    a_stuck_endpoint_does_not_hold_up_others,
                    a_stopped_process_hears_no_more,
                    an_exclusive_endpoint_shares_with_nobody,
                    a_standby_takes_over,
                    an_instance_of_higher_priority_is_served_first,
                    subscribers_that_come_and_go_lose_nothing,
                    a_queue_is_worked_off_over_several_lives,
                }
                observing {
                    a_tap_gets_an_identical_copy,
                    a_tap_answers_nobody_and_raises_no_fault,
                    a_retried_message_is_overheard_once,
                    observers_are_told_once,
                    each_attempt_is_observed,
                    the_end_of_a_delivery_says_how,
                    a_published_fault_is_observed,
                    observers_follow_the_states,
                    a_refused_message_is_observed_as_refused,
                    an_observer_that_panics_changes_nothing,
                    observers_see_the_ids_that_travel,
                }
                outbox {
                    what_cannot_be_sent_is_refused_at_once,
                    refused_messages_do_not_overtake_each_other,
                    a_failed_consumer_has_sent_nothing,
                    the_successful_attempt_sends_once,
                    messages_leave_in_order,
                    messages_to_several_exchanges_leave_in_order,
                    nothing_leaves_before_the_consumer_is_done,
                    without_an_outbox_messages_leave_at_once,
                    a_message_may_leave_immediately,
                    a_bus_handle_in_a_consumer_sends_at_once,
                    a_request_inside_a_consumer_goes_at_once,
                    a_message_that_cannot_leave_fails_its_consumer,
                    ids_are_fixed_when_a_message_is_published,
                    the_fault_of_a_failed_attempt_leaves,
                    a_context_sends_nothing_after_its_consumer_has_ended,
                }
                panics {
                    a_hook_that_panics_refuses_its_message_alone,
                    a_hook_that_panics_for_faults_holds_nothing_up,
                    an_error_that_panics_when_it_is_shown_is_set_aside,
                    an_error_without_a_first_cause_is_set_aside,
                    a_panic_outside_of_consumers_puts_its_message_off,
                }
                propagation {
                    ids_lead_through_a_chain,
                    a_correlation_id_of_zeros_is_not_sent,
                    user_headers_travel_on,
                    a_trace_is_continued,
                    unrelated_messages_begin_their_own_traces,
                    a_malformed_trace_is_replaced,
                    the_envelope_says_who_sent_it,
                    a_priority_travels_on,
                    a_redelivered_message_says_so,
                }
                publishing {
                    every_subscribed_endpoint_gets_its_own_copy,
                    a_queue_keeps_events_until_its_consumer_starts,
                    types_do_not_mix,
                    an_event_without_subscribers_is_no_error,
                    without_subscription_only_what_is_sent_arrives,
                    a_bus_without_endpoints_publishes_and_sends,
                    deploying_declares_and_consumes_nothing,
                    many_events_are_published_at_once,
                }
                queues {
                    a_full_queue_refuses_its_sender,
                    a_full_queue_may_drop_its_oldest,
                    a_queue_may_bound_how_long_messages_wait,
                    quorum_queues_work_like_classic_ones,
                    a_bus_may_prefer_quorum_queues,
                }
                refusals {
                    a_command_without_a_route_is_refused,
                    an_address_that_cannot_be_read_is_refused,
                    a_missing_exchange_is_an_error_of_that_message_alone,
                    a_mandatory_event_without_a_queue_is_an_error,
                    a_hook_may_refuse_a_message,
                    an_over_long_routing_key_is_refused,
                    a_stopped_bus_refuses_to_send,
                    a_message_that_cannot_be_written_is_refused,
                    a_deadline_that_is_over_is_an_error,
                    a_command_to_a_process_that_is_gone_is_an_error,
                }
                requests {
                    a_reply_carries_the_ids_of_its_request,
                    a_request_is_durable_unless_transient,
                    a_request_goes_where_it_is_addressed,
                    parallel_requests_get_their_own_replies,
                    a_dropped_request_is_forgotten,
                    either_of_two_replies_is_accepted,
                    a_consumer_may_ask_while_it_consumes,
                    only_the_reply_carries_the_request_id,
                    only_the_requester_gets_the_reply,
                    an_answer_without_an_address_is_published,
                }
                retrying {
                    retries_are_counted_and_end,
                    every_policy_makes_its_attempts,
                    thousands_of_immediate_retries_run,
                    a_message_that_succeeds_at_last_is_done,
                    ignored_errors_are_not_retried,
                    only_listed_errors_are_retried,
                    the_filter_is_asked_after_each_attempt,
                    a_permanent_error_is_not_retried,
                    a_panic_is_a_failure_and_the_endpoint_goes_on,
                    an_attempt_that_takes_too_long_is_retried,
                    every_attempt_sees_the_original_message,
                    a_waiting_retry_keeps_its_slot_and_others_go_on,
                    a_retried_message_is_not_overtaken_at_concurrency_1,
                    a_stop_does_not_wait_for_a_retry,
                    a_foreign_message_without_ids_is_retried,
                    the_policy_of_the_endpoint_wins,
                    middleware_runs_around_the_delivery_or_each_attempt,
                    a_retried_message_raises_one_fault,
                }
                routing {
                    a_direct_exchange_delivers_by_key,
                    topic_patterns_match_words,
                    a_topic_subscription_without_a_key_gets_everything,
                    the_routing_key_comes_from_the_message,
                    a_headers_exchange_delivers_by_header_values,
                    bindings_lead_from_exchange_to_exchange,
                    an_alternate_exchange_receives_what_nobody_subscribed_to,
                    an_exchange_may_have_another_name,
                    a_hook_may_choose_the_routing_key,
                }
                sending {
                    a_command_goes_where_its_route_says,
                    a_command_waits_for_an_endpoint_that_comes_later,
                    an_expired_message_is_not_consumed,
                    higher_priorities_are_served_first,
                    messages_are_durable_unless_transient,
                    the_correlation_id_comes_from_the_contract,
                    hooks_run_for_everything_that_leaves,
                    a_sending_leaves_only_when_awaited,
                    headers_arrive_in_any_script,
                    headers_keep_their_kind,
                    the_smallest_envelope_is_consumed,
                    queue_names_may_be_in_any_script,
                }
                sent_ids {
                    a_message_that_comes_again_sends_the_same_ids,
                    a_duplicate_is_recognized_over_two_hops,
                    what_cannot_be_sent_is_refused_before_anything_leaves,
                    a_delay_that_cannot_be_kept_is_refused_at_once,
                }
                shutdown {
                    what_runs_finishes_and_the_rest_goes_back,
                    a_running_consumer_may_still_answer,
                    a_running_consumer_may_still_ask,
                    after_the_stop_timeout_consumers_are_cancelled,
                    a_consumer_that_ignores_cancellation_is_dropped,
                    stopping_twice_is_fine,
                    a_dropped_bus_gives_its_messages_back,
                    unwanted_and_failing_messages_do_not_hold_up_the_stop,
                    what_arrives_during_the_stop_waits_for_the_next_process,
                    a_paused_endpoint_stays_stopped,
                    a_bus_may_stop_as_soon_as_it_has_started,
                }
                skipping {
                    an_unwanted_message_is_skipped,
                    many_unwanted_messages_do_not_stop_the_endpoint,
                    unwanted_messages_may_be_discarded,
                    a_consumer_of_everything_gets_the_rest,
                }
                stopping {
                    a_pause_under_way_does_not_hold_up_the_stop,
                    a_pause_that_nobody_awaits_goes_on,
                    a_resume_under_way_does_not_hold_up_the_stop,
                    a_pause_ends_a_resume_under_way,
                    a_resume_that_nobody_awaits_may_be_tried_again,
                    a_stop_that_nobody_awaits_goes_on,
                    all_callers_get_the_same_outcome,
                    a_consumer_may_stop_its_bus,
                    a_consumer_that_awaits_its_own_stop_is_cut_off,
                    a_consumer_that_blocks_its_thread_is_left_behind,
                    a_broker_that_does_not_answer_is_left_behind,
                }
                times {
                    settings_may_be_without_end,
                    a_message_may_have_all_the_time_there_is,
                }
                unanswered {
                    an_address_that_is_not_allowed_gets_no_answer,
                    a_failing_responder_answers_with_a_fault,
                    a_retried_request_is_answered_with_one_fault,
                    a_request_without_an_answer_times_out,
                    an_unexpected_reply_is_an_error,
                    a_reply_of_a_failed_attempt_never_leaves,
                    shutdown_releases_who_waits_for_a_reply,
                    a_request_that_cannot_be_read_is_answered_with_a_fault,
                    a_request_that_middleware_refuses_is_answered_with_a_fault,
                    a_requester_who_is_gone_costs_nobody,
                    a_request_that_cannot_be_sent_fails_at_once,
                    a_stopped_bus_refuses_to_ask,
                    a_reply_that_cannot_be_read_is_an_error,
                    a_panicking_responder_answers_with_a_fault,
                    a_request_that_fails_at_most_once_is_answered_with_a_fault,
                    a_request_expires_with_its_timeout,
                }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! behaviours {
    ($stage:expr; $($theme:ident { $($behaviour:ident),+ $(,)? })+) => {
        $(
            mod $theme {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $behaviour() {
                        let name = concat!(stringify!($theme), "::", stringify!($behaviour));
                        let stage = $stage;
                        $crate::run(name, &stage, |stage| {
                            $crate::suite::$theme::$behaviour(stage)
                        })
                        .await;
                    }
                )+
            }
        )+
    };
}
