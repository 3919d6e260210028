"""Which way through an adapted layer costs least, by counting multiplications and kept numbers."""

from typing import NamedTuple


class Plan(NamedTuple):
    """The choices in one pass through an adapted layer, forward and backward."""

    fold_forward: bool
    """form W + left·right for the forward pass, in place of pushing the tokens through the thin factors"""
    fold_backward: bool
    """the same for the gradient of the input"""
    keep_x: bool
    """keep x for the backward pass"""
    keep_z: bool
    """keep z = x·rightᵀ for the backward pass"""
    whole_gradient: bool
    """take the factors' gradients from W's own gradient gyᵀ·x, in place of from thin products"""


def choose_route(
    tokens: int,
    out_features: int,
    in_features: int,
    rank: int,
    *,
    may_fold: bool,
    left_trains: bool,
    right_trains: bool,
    weight_trains: bool = False,
) -> Plan:
    """Return the cheapest way through ``y = x·(W + left·right)ᵀ``, given T = ``tokens`` and W ``(out, in)``.

    Multiplications, leaving out those that every way needs (x·Wᵀ and gy·W, T·out·in each):

    =============================================== =========================
    z = x·rightᵀ;  gz = gy·left                     T·r·in;  T·r·out
    output from z;  input's gradient from gz        T·r·out;  T·r·in
    W + left·right                                  r·out·in
    left's gradient gyᵀ·z;  right's gzᵀ·x           T·r·out;  T·r·in
    W's gradient G = gyᵀ·x                          T·out·in
    left's gradient G·rightᵀ;  right's leftᵀ·G      r·out·in each
    =============================================== =========================

    - **Kept**: x where right or W trains, for nothing else gives their gradient. Otherwise the smaller of z and x,
      that is z unless r > in. Memory comes before time here: a model's step holds every layer's at once.
    - **Whole gradient**: where x is kept and G with its projections costs less than the thin products; roughly
      r > out·in / (out + in), and half that where both factors train. Then z need not be kept, or even computed.
    - **Fold**: where W + left·right costs less than the products it spares. Where z is needed anyway that means
      T > in, where gz is, T > out, and otherwise T·(in + out) > in·out.

    Only multiplications count because both ways read and write alike: pushing reads and writes the (T, out) output
    once more, folding reads and writes an (out, in) weight, and these cross at the same T. ``may_fold`` is false in
    half precision, whose sums W + left·right lose small updates (bfloat16's step at 0.02 is 1e-4), and under dropout,
    where the update sees another input than W does.
    """
    fold = rank * out_features * in_features
    thin_in, thin_out = tokens * rank * in_features, tokens * rank * out_features
    thin = thin_in + thin_out
    keep_x = right_trains or weight_trains or (left_trains and in_features < rank)
    keep_z = left_trains and (right_trains or not keep_x)

    def passes(z_needed: bool, gz_needed: bool) -> tuple[int, bool, bool]:
        """Return the cost of output and input gradient together, and whether to fold for each."""
        # Not products with truth values: under torch.compile the number of tokens may be a symbol.
        forward, backward = fold + (thin_in if z_needed else 0), fold + (thin_out if gz_needed else 0)
        folds = may_fold and forward < thin, may_fold and backward < thin
        return (forward if folds[0] else thin) + (backward if folds[1] else thin), *folds

    thin_passes = passes(keep_z, right_trains)
    whole_passes = passes(False, False)
    rebuilt_z = thin_in if left_trains and not keep_z else 0
    thin_cost = thin_passes[0] + (thin_out if left_trains else 0) + (thin_in if right_trains else 0) + rebuilt_z
    G = 0 if weight_trains else tokens * out_features * in_features
    whole_cost = whole_passes[0] + G + fold * (int(left_trains) + int(right_trains))

    whole = keep_x and (left_trains or right_trains) and whole_cost < thin_cost
    _, fold_forward, fold_backward = whole_passes if whole else thin_passes
    return Plan(fold_forward, fold_backward, keep_x, keep_z and not whole, whole)
