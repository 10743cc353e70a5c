"""changes -> Plan: edges and order (`build`), selection (`select`), guards (`guards`), bytes <-> Plan (`codec`)."""
