;; A plugin that leaves every row as it is: what is passed to it is taken and forgotten, so that a call shows what passing costs.
;; `scripts/probe.sh` makes probe.wasm of it, which is checked in; a test holds the two equal.
(module
  (memory (export "memory") 2)
  ;; What a call's arguments have taken so far; the first page stays empty.
  (global $end (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32) (local $missing i32)
    (local.set $at
      (i32.and (i32.add (global.get $end) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
    (global.set $end (i32.add (local.get $at) (local.get $size)))
    (local.set $missing (i32.sub (i32.shr_u (i32.add (global.get $end) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (i32.gt_s (local.get $missing) (i32.const 0)) (then (drop (memory.grow (local.get $missing)))))
    (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
    (local.get $at))
  ;; The answers are at the zeros of the first page: done, no plan, an outcome that changes nothing.
  (func (export "tidegate:plugin/transform@0.1.0#configure") (param i32 i32) (result i32) (i32.const 8))
  (func (export "tidegate:plugin/transform@0.1.0#bind") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "tidegate:plugin/transform@0.1.0#process") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "cabi_post_tidegate:plugin/transform@0.1.0#process") (param i32) (global.set $end (i32.const 65536))))
