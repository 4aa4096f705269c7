# What the policy promises. Every rule here must be true in every engine: `opa test policies`, and our own tests.
package pii_test

import rego.v1

import data.pii

ask(kind, role, action, purpose, fields) := {
	"subject": {"kind": kind, "name": "somebody", "role": role},
	"action": action,
	"purpose": purpose,
	"fields": fields,
}

test_support_reads_what_it_needs_to_answer_a_shopper if {
	pii.access with input as ask("operator", "support", "read", "support", ["name", "email", "phone"])
}

test_support_does_not_read_where_somebody_lives if {
	not pii.access with input as ask("operator", "support", "read", "support", ["address"])
}

test_one_field_too_many_denies_all if {
	not pii.access with input as ask("operator", "support", "read", "support", ["name", "address"])
}

test_support_has_no_business_with_invoices if {
	not pii.access with input as ask("operator", "support", "read", "invoice", ["name"])
}

test_finance_reads_what_stands_on_an_invoice if {
	pii.access with input as ask("operator", "finance", "read", "invoice", ["name", "address", "email"])
	not pii.access with input as ask("operator", "finance", "read", "invoice", ["phone"])
}

test_fulfilment_reads_what_stands_on_a_parcel if {
	pii.access with input as ask("operator", "fulfilment", "read", "delivery", ["name", "address", "phone"])
	not pii.access with input as ask("operator", "fulfilment", "read", "delivery", ["email"])
}

test_fulfilment_finds_nobody if {
	not pii.access with input as ask("operator", "fulfilment", "search", "delivery", ["email"])
}

test_an_auditor_sees_the_log_and_no_person if {
	pii.access with input as ask("operator", "auditor", "audit", "audit", ["access_log"])
	not pii.access with input as ask("operator", "auditor", "read", "audit", ["name"])
	not pii.access with input as ask("operator", "auditor", "read", "data_request", ["name"])
}

test_an_admin_answers_a_person_who_asks_for_their_data if {
	pii.access with input as ask("operator", "admin", "read", "data_request", ["name", "email", "phone", "address"])
	pii.access with input as ask("operator", "admin", "search", "data_request", ["email"])
	pii.access with input as ask("operator", "admin", "erase", "data_request", ["email", "name", "phone", "address"])
}

test_an_admin_needs_a_purpose_too if {
	not pii.access with input as ask("operator", "admin", "read", "", ["name"])
	not pii.access with input as ask("operator", "admin", "read", "curiosity", ["name"])
}

test_nobody_else_erases if {
	every role in ["support", "finance", "fulfilment", "auditor"] {
		not pii.access with input as ask("operator", role, "erase", "data_request", ["email"])
	}
}

test_the_shop_reads_its_own_customers if {
	pii.access with input as ask("service", "shop", "read", "delivery", ["name", "address"])
	not pii.access with input as ask("service", "shop", "read", "delivery", ["name", "email"])
}

test_checkout_recognises_and_reads_nothing if {
	pii.access with input as ask("service", "checkout", "search", "checkout", ["email", "phone"])
	not pii.access with input as ask("service", "checkout", "read", "checkout", ["email"])
}

test_an_account_reads_finds_and_erases_its_own_customers_for_its_records if {
	pii.access with input as ask("service", "account", "read", "customer_record", ["email", "name", "phone"])
	pii.access with input as ask("service", "account", "search", "customer_record", ["email"])
	pii.access with input as ask("service", "account", "erase", "customer_record", ["email", "name", "phone"])
	not pii.access with input as ask("service", "account", "read", "support", ["name"])
	not pii.access with input as ask("service", "account", "search", "customer_record", ["phone"])
	not pii.access with input as ask("operator", "account", "read", "customer_record", ["name"])
}

test_the_reindexer_reads_to_make_hashes_and_nothing_else if {
	pii.access with input as ask("service", "reindexer", "read", "reindex", ["email", "name", "phone", "address"])
	not pii.access with input as ask("service", "reindexer", "read", "support", ["email"])
	not pii.access with input as ask("service", "reindexer", "search", "reindex", ["email"])
	not pii.access with input as ask("operator", "reindexer", "read", "reindex", ["email"])
}

test_the_sweeper_erases_and_reads_nothing if {
	pii.access with input as ask("service", "sweeper", "erase", "unfinished", ["email", "name", "phone"])
	not pii.access with input as ask("service", "sweeper", "read", "unfinished", ["name"])
	not pii.access with input as ask("service", "sweeper", "erase", "data_request", ["name"])
}

test_a_service_that_is_not_named_gets_nothing if {
	every role in ["notifications", "reconciliation", "intake", "", "admin", "support"] {
		not pii.access with input as ask("service", role, "read", "support", ["name"])
	}
}

test_a_service_is_not_an_operator if {
	not pii.access with input as ask("operator", "shop", "read", "support", ["name"])
	not pii.access with input as ask("service", "admin", "read", "support", ["name"])
	not pii.access with input as ask("person", "admin", "read", "support", ["name"])
}

test_no_fields_is_no_question if {
	not pii.access with input as ask("operator", "admin", "read", "support", [])
}

test_what_cannot_be_read_is_denied if {
	not pii.access with input as {}
	not pii.access with input as "admin"
	not pii.access with input as ask("operator", "admin", "read", "support", "name")
	not pii.access with input as ask("operator", "admin", "read", "support", {"name": true})
	not pii.access with input as ask("operator", "admin", "read", "support", [["name"]])
	not pii.access with input as ask("operator", "admin", "read", "support", null)
	not pii.access with input as {"subject": "admin", "action": "read", "purpose": "support", "fields": ["name"]}
}

test_the_answer_is_true_or_false if {
	pii.access == false with input as {}
	pii.access == true with input as ask("operator", "admin", "read", "support", ["name"])
}
