module tidegate/plugin

go 1.25
