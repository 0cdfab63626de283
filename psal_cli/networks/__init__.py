"""Networks: nothing but nn.Modules, with the parameter names of published checkpoints."""
