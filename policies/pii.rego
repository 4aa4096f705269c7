# Who may do what with which personal data, and what for. RULES §12, docs/personal-data.md.
#
# The question is the input, and it names no person whose data they are:
#
#	{
#		"subject": {"kind": "operator", "name": "ann", "role": "support"},
#		"action": "read",
#		"purpose": "support",
#		"fields": ["name", "email"]
#	}
#
# An operator's role is the person's; a service's role is what the program is there for: `shop` is whoever holds a
# merchant's API key, `checkout` recognises shoppers who come again; at the gateway `account` is whoever holds an account's
# API key and reads its own customers, `sweeper` erases whom no customer names. Only the answer `true` grants, and it grants all the
# fields that were asked for or none.
package pii

import rego.v1

default access := false

access if {
	is_array(input.fields)
	count(input.fields) > 0
	granted := grants[input.subject.kind][input.subject.role][input.action][input.purpose]
	every field in input.fields {
		field in granted
	}
}

everything := {"email", "name", "phone", "address"}

for_support := {"email", "name", "phone"}

for_invoices := {"email", "name", "address"}

for_delivery := {"name", "phone", "address"}

by_which_people_are_found := {"email", "phone"}

grants := {
	"operator": {
		"support": {
			"read": {"support": for_support},
			"search": {"support": by_which_people_are_found},
		},
		"finance": {
			"read": {"invoice": for_invoices},
			"search": {"invoice": {"email"}},
		},
		"fulfilment": {"read": {"delivery": for_delivery}},
		# Sees who looked at what, and no person's data.
		"auditor": {"audit": {"audit": {"access_log"}}},
		"admin": {
			"read": {
				"support": for_support,
				"invoice": for_invoices,
				"delivery": for_delivery,
				"data_request": everything,
			},
			"search": {
				"support": by_which_people_are_found,
				"data_request": by_which_people_are_found,
			},
			"erase": {"data_request": everything},
			"audit": {"audit": {"access_log"}},
		},
	},
	"service": {
		"shop": {
			"read": {
				"support": for_support,
				"invoice": for_invoices,
				"delivery": for_delivery,
				"data_request": everything,
			},
			"search": {
				"support": by_which_people_are_found,
				"data_request": by_which_people_are_found,
			},
			"erase": {"data_request": everything},
		},
		"checkout": {"search": {"checkout": by_which_people_are_found}},
		"account": {
			"read": {"customer_record": {"email", "name", "phone"}},
			"search": {"customer_record": {"email"}},
			"erase": {"customer_record": everything},
		},
		"sweeper": {"erase": {"unfinished": everything}},
		# Opens everybody to make the search hashes anew, and hands nothing out.
		"reindexer": {"read": {"reindex": everything}},
	},
}
