#ifndef TIDEGATE_TEST_STATE_H
#define TIDEGATE_TEST_STATE_H

// Empties the state.
void tg_test_forget(void);

#endif
