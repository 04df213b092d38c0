"""Result codes of calls: an append-only table (DESIGN section 7, CHAIN 5.10).

The number is consensus, since it is in `results_root`; the name is the one the field's tools know; the text is neither.
A number is never reused and never changes its meaning.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ...types import YumadError


class ErrorCode(IntEnum):
    """Why a call failed. 0 is success and not in the table."""

    # Balances
    InsufficientBalance = 1
    ExistentialDeposit = 2
    Expendability = 3
    Overflow = 4
    # Authorities
    AuthorityKeyInUse = 16
    BadProofOfPossession = 17
    NotAnAuthority = 18
    HeartbeatTooSoon = 19
    AuthorityBonded = 20
    NotEnoughRootStake = 21
    AuthorityKeyUnchanged = 22
    InvalidPeerId = 23
    # Neurons
    RegistrationNotPermittedOnRootSubnet = 32
    SubnetNotExists = 33
    SubNetRegistrationDisabled = 34
    HotKeyAlreadyRegisteredInSubNet = 35
    NotEnoughBalanceToStake = 36
    NonAssociatedColdKey = 37
    NoNeuronIdAvailable = 38
    RegistrationPriceLimitExceeded = 39
    # Weights
    InputLengthsUnequal = 48
    CommitRevealEnabled = 49
    CanNotSetRootNetworkWeights = 50
    WeightVecNotEqualSize = 51
    MechanismDoesNotExist = 52
    UidsLengthExceedUidsInSubNet = 53
    HotKeyNotRegisteredInSubNet = 54
    NotEnoughStakeToSetWeights = 55
    IncorrectWeightVersionKey = 56
    SettingWeightsTooFast = 57
    NeuronNoValidatorPermit = 58
    DuplicateUids = 59
    UidVecContainInvalidOne = 60
    WeightVecLengthIsLow = 61
    MaxWeightExceeded = 62
    # Stake and keys
    AmountTooLow = 80
    HotKeyAccountNotExists = 81
    InsufficientLiquidity = 82
    # Administration
    BadOrigin = 96
    AdminNonceMismatch = 97
    AdminCallExpired = 98
    AdminCallUnknown = 99
    AdminArgumentsMalformed = 100
    ValueNotInBounds = 101
    AlphaHighTooLow = 102
    AlphaLowOutOfRange = 103
    LiquidAlphaDisabled = 104
    AdminActionProhibitedDuringWeightsWindow = 105
    TempoOutOfBounds = 106
    RevealPeriodTooSmall = 107
    RevealPeriodTooLarge = 108
    FaucetDisabled = 112
    FaucetLimitReached = 113
    # Pools
    SwapInputTooLarge = 120
    ReservesTooLow = 121
    PriceLimitExceeded = 122
    ReservesOutOfBalance = 123


TEXTS: Final[dict[ErrorCode, str]] = {
    ErrorCode.InsufficientBalance: "the free balance does not cover the amount",
    ErrorCode.ExistentialDeposit: "the receiver would hold less than the existential deposit",
    ErrorCode.Expendability: "the sender would fall below the existential deposit; transfer_allow_death empties it",
    ErrorCode.Overflow: "the amount does not fit 64 bits together with what is there",
    ErrorCode.AuthorityKeyInUse: "another hotkey registered this authority key",
    ErrorCode.BadProofOfPossession: "the authority key did not sign this hotkey for this network",
    ErrorCode.NotAnAuthority: "the hotkey has no registered authority key",
    ErrorCode.HeartbeatTooSoon: "the hotkey's newest heartbeat is less than an eighth of an era old",
    ErrorCode.AuthorityBonded: "the root stake is bonded until the authority can no longer be punished",
    ErrorCode.NotEnoughRootStake: "the hotkey's root stake is below the minimum authority weight",
    ErrorCode.AuthorityKeyUnchanged: "the hotkey registered this very authority key before",
    ErrorCode.InvalidPeerId: "the peer id is empty or longer than a peer id can be",
    ErrorCode.RegistrationNotPermittedOnRootSubnet: "neurons do not register on the root subnet this way",
    ErrorCode.SubnetNotExists: "there is no subnet of this number",
    ErrorCode.SubNetRegistrationDisabled: "the subnet does not take registrations now",
    ErrorCode.HotKeyAlreadyRegisteredInSubNet: "the hotkey has a uid in this subnet already",
    ErrorCode.NotEnoughBalanceToStake: "the free balance does not cover the amount and the existential deposit",
    ErrorCode.NonAssociatedColdKey: "the hotkey belongs to another coldkey",
    ErrorCode.NoNeuronIdAvailable: "the subnet is full and no neuron in it may be replaced",
    ErrorCode.RegistrationPriceLimitExceeded: "the registration price is above the given limit",
    ErrorCode.InputLengthsUnequal: "the lists differ in length",
    ErrorCode.CommitRevealEnabled: "the subnet takes weights by commit and reveal only",
    ErrorCode.CanNotSetRootNetworkWeights: "the root subnet has no weights",
    ErrorCode.WeightVecNotEqualSize: "uids and values differ in length",
    ErrorCode.MechanismDoesNotExist: "the subnet or the mechanism does not exist",
    ErrorCode.UidsLengthExceedUidsInSubNet: "more uids than the subnet has",
    ErrorCode.HotKeyNotRegisteredInSubNet: "the hotkey has no uid in this subnet",
    ErrorCode.NotEnoughStakeToSetWeights: "the hotkey's stake weight is below the threshold for setting weights",
    ErrorCode.IncorrectWeightVersionKey: "the version key is older than the subnet demands",
    ErrorCode.SettingWeightsTooFast: "the rate limit since the last update has not passed",
    ErrorCode.NeuronNoValidatorPermit: "the neuron has no validator permit",
    ErrorCode.DuplicateUids: "a uid occurs twice",
    ErrorCode.UidVecContainInvalidOne: "a uid is not occupied",
    ErrorCode.WeightVecLengthIsLow: "fewer weights than the subnet demands",
    ErrorCode.MaxWeightExceeded: "a weight exceeds the subnet's limit",
    ErrorCode.AmountTooLow: "the amount is below the minimum",
    ErrorCode.HotKeyAccountNotExists: "the hotkey is not known; register it or associate it with a coldkey first",
    ErrorCode.InsufficientLiquidity: "the subnet's pool cannot fill the order",
    ErrorCode.BadOrigin: "too few valid signatures of this network's admin keys",
    ErrorCode.AdminNonceMismatch: "the admin nonce is not the next one",
    ErrorCode.AdminCallExpired: "the administrative order is past its last height",
    ErrorCode.AdminCallUnknown: "the call is not an administrative one",
    ErrorCode.AdminArgumentsMalformed: "the arguments do not have the form the administrative call needs",
    ErrorCode.ValueNotInBounds: "the value is outside the parameter's bounds",
    ErrorCode.AlphaHighTooLow: "alpha high is below 1638",
    ErrorCode.AlphaLowOutOfRange: "alpha low is below 1638 or above alpha high",
    ErrorCode.LiquidAlphaDisabled: "liquid alpha is off in this subnet",
    ErrorCode.AdminActionProhibitedDuringWeightsWindow: "the subnet's epoch is too near",
    ErrorCode.TempoOutOfBounds: "the tempo is outside its bounds",
    ErrorCode.RevealPeriodTooSmall: "the reveal period is below one epoch",
    ErrorCode.RevealPeriodTooLarge: "the reveal period is above a hundred epochs",
    ErrorCode.FaucetDisabled: "this network has no faucet",
    ErrorCode.SwapInputTooLarge: "the order is more than a thousand times the pool's reserve",
    ErrorCode.ReservesTooLow: "the pool has too little to give, or the amount buys nothing",
    ErrorCode.PriceLimitExceeded: "the price is not better than the limit",
    ErrorCode.ReservesOutOfBalance: "no weight of the pool gives that price",
    ErrorCode.FaucetLimitReached: "the account holds as much as the faucet gives, or the supply is used up",
}
"""One line for the person reading; never committed."""


class CallError(YumadError):
    """A call fails with a code of the table: it leaves no effect but nonce and fee."""

    code = "call_failed"

    def __init__(self, number: ErrorCode) -> None:
        super().__init__(f"{number.name}: {TEXTS[number]}")
        self.number = number


def error_name(number: int) -> str:
    """Name of a result code, `ok` for 0, `Error<n>` for one this version does not know."""
    if number == 0:
        return "ok"
    try:
        return ErrorCode(number).name
    except ValueError:
        return f"Error{number}"


def error_text(number: int) -> str:
    """The text for a result code; empty for 0 and for unknown ones."""
    try:
        return TEXTS[ErrorCode(number)]
    except ValueError:
        return ""
