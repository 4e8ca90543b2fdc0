module outside

go 1.25

require tidegate/plugin v0.1.0
