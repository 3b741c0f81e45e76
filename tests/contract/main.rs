//! The contract suite: every adapter over real HTTP to its simulator, with the same checks for all.
//!
//! The table below says which checks there are, whom they are for, and what of the contract
//! (`InviteProvider`'s documentation, docs/delivery.md) each covers: methods of the traits and
//! members of the capabilities. Every check becomes one test for each subject that its group takes; the
//! subjects are every kind of the registry as its simulator says, and what `subject` adds.
//! `coverage` fails if a group takes nobody, or if a subject has a method or a capability that none of
//! its checks covers; `audit` fails a check that does not use the methods which it
//! claims to cover. `tests/run --live` is in the target `contract-live`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a check fails by panicking")]

mod audit;
mod bench;
mod change;
mod coverage;
mod create;
mod credentials;
mod dry_run;
mod faults;
mod options;
mod people;
mod read;
mod reconcile;
mod rkvst;
mod securegate;
mod simulator;
mod subject;
mod turnkey;
mod wire;

use std::{pin::Pin, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

use bench::Bench;
use coverage::{Check, Group};

/// Makes the list of the groups.
macro_rules! groups {
    ($($group:ident where $takes:expr; { $($file:ident::$check:ident $covers:tt)* })*) => {
        const GROUPS: &[Group] = &[$(Group {
            name: stringify!($group),
            takes: $takes,
            checks: &[$(Check {
                name: stringify!($check),
                covers: &$covers,
                run: |bench| Box::pin($file::$check(bench)),
            }),*],
        }),*];
    };
}

/// What a check does.
type Run = for<'a> fn(&'a Bench) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One test for each check of each group and each subject that the group takes.
fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let subjects = coverage::subjects();
    let mut trials = coverage::trials();
    for group in GROUPS {
        for facts in subjects.iter().filter(|facts| (group.takes)(facts)) {
            for check in group.checks {
                let subject = facts.name;
                let name = format!("{}::{subject}::{}", group.name, check.name);
                trials.push(Trial::test(name, move || {
                    let mut all = subject::all().into_iter();
                    let subject = all.find(|it| it.name == subject).unwrap();
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.enable_all().build()?;
                    runtime.block_on(bench::run(subject, check.covers, check.run));
                    Ok(())
                }));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

groups! {
    every where |_| true;
    {
        create::an_invite_comes_to_exist_once_with_what_was_given ["resolve", "prepare", "create"]
        create::the_exchange_is_recorded_with_both_bodies_and_the_providers_time ["create"]
        create::what_arrives_is_the_frozen_body_byte_for_byte ["prepare", "create"]
        create::freezing_twice_at_one_time_gives_the_same_call ["prepare"]
        create::nobody_is_no_call ["prepare"]
        create::what_must_be_given_is_what_the_capability_lists
            ["resolve", "capabilities", "capabilities.create.required_fields"]
        create::the_members_that_reach_the_provider_are_those_that_the_capability_lists
            ["prepare", "capabilities", "capabilities.create.fields"]
        create::labels_and_external_ids_never_reach_a_provider ["resolve"]
        create::one_of_several_callers_sees_nothing_of_the_others_in_an_error ["create"]
        create::a_reply_that_quotes_the_credential_is_not_passed_on ["create"]
        create::a_call_for_another_place_is_refused_without_a_request
            ["prepare", "create", "get", "update_status", "revoke", "reconcile", "step"]
        options::options_that_are_unknown_or_wrong_are_faults_at_their_place
            ["resolve", "kind.name", "kind.options_schema"]
        options::options_of_other_kinds_change_nothing ["resolve"]
        options::faults_of_the_person_and_of_the_options_come_together ["resolve"]
        options::resolving_is_pure ["resolve"]
        options::what_a_caller_adds_goes_out_beside_the_adapters_own_members_and_only_where_it_may
            ["resolve", "prepare", "create", "kind.options_schema", "kind.read_back"]
        options::a_configuration_is_checked_as_a_whole_and_shows_no_secret
            ["kind.build", "kind.config_schema"]
        options::the_settings_that_name_an_account_are_settings_of_the_kind
            ["kind.account_settings"]
        options::a_kind_says_of_itself_what_its_providers_do
            ["capabilities", "kind.capabilities", "kind.default_limits", "capabilities.reconcile"]
        read::an_invite_that_exists_is_read_as_it_was_made ["get", "capabilities.get"]
        read::an_acceptance_is_seen ["get"]
        read::an_id_that_is_not_known_there_is_no_invite ["get"]
        read::an_invite_without_an_id_cannot_be_asked_about ["get"]
        read::an_id_that_would_lead_elsewhere_is_not_followed ["get"]
        read::a_list_shows_every_invite_once_to_its_last_page ["list", "capabilities.list"]
        read::a_list_of_one_address_shows_all_to_it_and_no_other ["list"]
        read::an_empty_list_is_no_error ["list"]
        read::a_cursor_that_was_never_given_is_refused_without_a_request ["list"]
        change::a_status_that_is_not_listed_is_unsupported_and_sends_nothing
            ["update_status", "capabilities.update_status"]
        credentials::a_good_credential_passes_the_probe_without_an_effect ["probe"]
        credentials::an_account_is_what_a_provisional_destination_turns_out_to_be
            ["resolve", "account"]
        credentials::a_refused_credential_is_named_as_the_cause_by_every_question
            ["probe", "get", "list", "reconcile", "step", "credential"]
        credentials::a_peer_that_is_not_there_is_no_refused_credential ["probe"]
        credentials::a_probe_that_was_not_answered_well_is_no_refused_credential ["probe"]
        credentials::a_create_with_a_refused_credential_is_rejected_without_effect
            ["create", "credential"]
        credentials::the_second_secret_takes_over_when_the_first_is_refused ["create", "credential"]
        credentials::a_good_first_secret_is_the_only_one_used ["credential"]
        credentials::two_refused_secrets_are_one_refusal ["create", "credential"]
        credentials::a_new_value_of_a_secret_is_used_at_once ["probe", "credential"]
        credentials::no_request_shows_a_credential_but_in_its_header ["create", "probe"]
        faults::a_connection_that_ends_without_a_reply_leaves_the_outcome_unknown ["create"]
        faults::an_unreadable_reply_leaves_the_outcome_unknown ["create"]
        faults::a_reply_beyond_the_cap_leaves_the_outcome_unknown ["create"]
        faults::a_server_error_leaves_the_outcome_unknown ["create"]
        faults::a_refusal_that_is_none_leaves_the_outcome_unknown ["create"]
        faults::a_refusal_of_one_invite_is_a_rejection ["create"]
        faults::a_refused_right_is_told_from_a_refused_invite ["create"]
        faults::too_many_requests_is_a_wait_as_long_as_the_provider_says ["create"]
        faults::a_rate_that_is_really_exceeded_throttles_and_passes ["create"]
        faults::a_used_up_quota_is_a_rejection_and_no_wait ["create"]
        faults::a_redirect_is_not_followed_and_the_credential_goes_nowhere_else
            ["create", "get", "list", "probe", "revoke"]
        faults::a_refused_connection_sent_nothing ["create"]
        faults::an_attempt_that_its_time_cuts_short_at_any_point_denies_no_effect ["create"]
        faults::an_answer_that_comes_too_late_leaves_the_outcome_unknown ["create"]
        faults::an_effect_that_comes_after_the_connection_ended_was_not_denied ["create"]
        faults::every_question_ends_in_its_time_although_the_peer_stalls
            ["prepare", "create", "get", "list", "probe", "revoke", "step"]
        faults::a_question_that_fails_says_nothing_about_the_invite ["get"]
        dry_run::a_dry_run_renders_the_call_and_sends_nothing ["prepare", "create", "probe", "list"]
        dry_run::a_dry_run_leaves_no_trace_in_the_real_one ["prepare"]
        dry_run::an_excerpt_shows_a_caller_its_own_part_and_nobody_elses ["kind.excerpt"]
        dry_run::what_is_kept_of_a_question_shows_nobody_else ["get", "list", "kind.excerpt"]
        dry_run::what_lets_its_holder_in_is_named_as_a_code ["create", "kind.codes"]
        reconcile::an_effect_whose_reply_was_lost_is_found ["reconcile", "step"]
        reconcile::what_never_took_effect_is_absent_once_that_can_be_told ["reconcile", "step"]
        reconcile::a_call_that_is_found_is_found_at_any_age ["reconcile", "step"]
        reconcile::several_calls_and_recipients_share_one_lookup ["reconcile", "step"]
        reconcile::a_lookup_that_is_cut_off_proves_no_absence ["reconcile", "step"]
        reconcile::what_the_list_does_not_show_yet_is_found_later ["reconcile", "step"]
    }

    batching where |facts| facts.capabilities.create.native_batch;
    {
        create::a_full_batch_is_one_call_answered_in_the_order_of_its_recipients
            ["capabilities.create.native_batch", "capabilities.create.max_batch"]
        create::a_part_of_a_batch_behind_a_server_error_is_unknown ["create"]
    }

    // Without get_organization a failed activity is taken to be without effect (docs/delivery.md).
    batching_where_all_is_shown where |facts| facts.capabilities.create.native_batch && facts.name != "turnkey_closed";
    {
        create::a_part_of_a_batch_is_claimed_for_what_it_is ["create"]
    }

    one_by_one where |facts| !facts.capabilities.create.native_batch;
    {
        create::more_than_one_recipient_is_refused_without_a_request
            ["capabilities.create.native_batch", "capabilities.create.max_batch"]
    }

    idempotent where |facts| facts.capabilities.create.idempotent;
    {
        create::the_same_bytes_again_have_one_effect ["capabilities.create.idempotent"]
    }

    not_idempotent where |facts| !facts.capabilities.create.idempotent;
    {
        create::the_same_bytes_again_have_a_second_effect_where_nothing_else_is_promised
            ["capabilities.create.idempotent"]
    }

    setting_a_status where |facts| !facts.capabilities.update_status.is_empty();
    {
        change::every_listed_status_can_be_set_and_set_again
            ["update_status", "capabilities.update_status"]
    }

    withdrawing where |facts| facts.capabilities.revoke;
    {
        change::a_withdrawn_invite_is_withdrawn_and_can_be_withdrawn_again
            ["revoke", "capabilities.revoke"]
        change::a_withdrawal_whose_reply_was_lost_is_seen_by_asking ["revoke", "get"]
        change::an_acceptance_is_not_withdrawn ["revoke"]
        change::an_invite_without_an_id_is_not_withdrawn ["revoke"]
        change::an_id_that_shows_another_person_is_withdrawn_only_by_force ["revoke"]
        change::an_id_that_shows_nobody_is_not_withdrawn ["revoke"]
    }

    not_withdrawing where |facts| !facts.capabilities.revoke;
    {
        change::withdrawing_is_unsupported_and_sends_nothing ["revoke", "capabilities.revoke"]
    }

    approved_by_nobody where |facts| !facts.capabilities.approval;
    {
        create::an_invite_that_needs_no_approval_is_never_awaiting_one ["capabilities.approval"]
    }

    listing_in_pages where |facts| facts.kind == "rkvst" || facts.name == "turnkey_closed";
    {
        read::a_list_that_leads_in_a_circle_is_an_error ["list"]
    }

    reading_one where |facts| facts.name != "turnkey_closed";
    {
        read::unknown_words_and_members_fail_nothing ["get"]
    }

    of_securegate where |facts| facts.kind == "securegate";
    {
        securegate::validation_names_the_item_and_the_callers_own_member ["create"]
        securegate::a_fault_in_what_the_call_shares_is_named_for_every_item ["create"]
        securegate::a_shuffled_reply_is_paired_by_address ["create"]
        securegate::a_refusal_of_several_that_may_have_come_midway_is_unknown ["create"]
        securegate::the_options_of_an_invite_win_over_the_configuration ["resolve", "list"]
        securegate::what_neither_invite_nor_configuration_says_is_a_fault ["resolve"]
        securegate::another_invite_to_the_address_is_near_and_not_exact ["step"]
        securegate::an_older_invite_with_the_same_contents_is_not_this_one ["step"]
        securegate::the_age_of_an_invite_is_told_by_the_providers_clock ["step"]
        securegate::times_are_read_with_and_without_a_zone ["step"]
        securegate::absence_means_nothing_in_an_event_that_does_not_exist ["step"]
        securegate::an_unauthorized_401_refuses_the_key_as_a_403_does ["probe"]
        securegate::an_event_that_is_not_known_is_no_place_to_invite_to ["create", "probe"]
        securegate::a_guest_who_declined_is_told_from_a_withdrawal ["get"]
        securegate::debug_output_does_not_show_what_admits_to_the_event ["create"]
    }

    of_rkvst where |facts| facts.kind == "rkvst";
    {
        rkvst::an_invite_that_is_gone_is_told_by_what_else_is_known ["get"]
        rkvst::an_invite_lapses_when_its_time_is_over ["get"]
        rkvst::an_acceptance_is_seen_on_a_later_page_of_the_members ["get"]
        rkvst::each_answer_to_a_delete_is_a_withdrawal ["revoke"]
        rkvst::each_form_of_an_error_is_read ["create"]
        rkvst::an_invite_without_a_message_gets_the_configured_one ["resolve", "create"]
        rkvst::an_accepted_invite_is_not_absent ["step"]
        rkvst::absence_cannot_be_told_a_day_later ["step"]
        rkvst::another_message_to_the_address_is_near_and_not_exact ["step"]
        rkvst::a_path_that_is_not_there_is_the_configurations_until_it_was_found ["create", "probe"]
    }

    rkvst_with_client_credentials where |facts| facts.kind == "rkvst" && facts.name != "rkvst_token";
    {
        rkvst::a_call_made_in_another_tenancy_is_not_judged_in_this_one ["create", "step"]
        rkvst::a_token_is_renewed_before_it_lapses_and_after_it_was_refused ["create"]
        rkvst::a_failed_token_call_sent_nothing ["create"]
        rkvst::a_registration_without_the_owner_role_is_a_refused_credential ["create", "probe"]
    }

    rkvst_with_a_token where |facts| facts.name == "rkvst_token";
    {
        rkvst::curls_whole_header_line_is_a_token ["probe"]
    }

    rkvst_without_references where |facts| facts.kind == "rkvst" && facts.name != "rkvst_reference";
    {
        rkvst::a_lone_other_invite_is_taken_for_this_one_but_only_inferred ["step"]
    }

    rkvst_with_references where |facts| facts.name == "rkvst_reference";
    {
        rkvst::with_a_reference_an_equal_message_is_not_enough ["step"]
    }

    of_turnkey where |facts| facts.kind == "turnkey";
    {
        turnkey::an_activity_under_way_is_followed_to_its_end ["create", "get"]
        turnkey::an_activity_that_needs_consensus_waits_for_the_votes
            ["create", "get", "capabilities.approval"]
        turnkey::a_rejected_activity_is_the_end_of_its_invites_however_it_is_learnt
            ["create", "get", "step"]
        turnkey::a_refused_question_for_the_sender_fails_no_invite ["prepare"]
        turnkey::an_activity_that_fails_at_once_refuses_the_whole_call ["create", "step"]
        turnkey::an_activity_that_waits_for_authenticators_awaits_approval ["create", "get"]
        turnkey::a_status_that_nobody_knows_is_kept_and_followed ["create", "get"]
        turnkey::the_documented_nested_reply_is_read_as_the_recorded_one ["create"]
        turnkey::the_fingerprint_is_turnkeys_own ["prepare", "create"]
        turnkey::the_same_bytes_again_are_a_look_at_the_activity ["create"]
        turnkey::bytes_that_are_too_old_create_nothing ["create"]
        turnkey::a_clock_that_is_off_is_no_fault_of_the_invitations ["create", "probe"]
        turnkey::an_activity_that_fails_for_the_organization_is_no_fault_of_its_invitations
            ["create"]
        turnkey::more_activities_than_a_page_holds_are_read_in_either_cursor_order ["list", "step"]
        turnkey::an_activity_is_found_by_its_id_although_the_list_lags ["step"]
        turnkey::a_delete_that_needs_approval_leaves_the_invite_as_it_was ["revoke"]
        turnkey::another_call_to_the_address_is_neither_exact_nor_near ["step"]
        turnkey::a_policy_that_denies_is_no_refused_key ["create", "probe"]
        turnkey::the_sender_is_asked_for_once_or_configured ["prepare"]
        turnkey::a_private_key_of_the_wrong_form_is_a_fault_that_does_not_show_it ["kind.build"]
    }

    turnkey_with_the_organization where |facts| facts.name == "turnkey";
    {
        turnkey::an_organization_that_is_refused_is_done_without ["get"]
        turnkey::a_deleted_invitation_is_revoked_only_if_we_deleted_it ["get"]
    }
}
