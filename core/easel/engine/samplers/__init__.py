"""The samplers: generators that read like their papers, and the plan that says what one of them will do."""
