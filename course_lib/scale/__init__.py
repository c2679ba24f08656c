"""What size costs: parameters, memory, arithmetic, money; and how to pay less. Arithmetic on shapes; no weights are ever made."""
