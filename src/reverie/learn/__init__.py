"""How a person learns: lessons, questions, and what to ask again and when."""
