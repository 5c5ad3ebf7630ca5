"""Proposes free adjective-noun names for VMs."""

from __future__ import annotations

import secrets
from collections.abc import Collection

_ADJECTIVES: str = (
    "able amber azure bold brave bright brisk calm clear clever cool cosy crisp daring deft "
    "eager early easy fair fast fine firm fond fresh gentle glad golden grand green happy "
    "hardy honest humble jolly keen kind large late light lively loyal lucky mellow merry "
    "mild modest neat nimble noble open patient plain polite proud pure quick quiet rapid "
    "ready rich royal rustic safe sharp shiny silent silver simple sleek smart smooth snug "
    "solid spry steady still strong sturdy subtle sunny super sure sweet swift tidy true "
    "upbeat vast vivid warm wise witty young zesty"
)
_NOUNS: str = (
    "badger bat bear beaver bee bison boar bobcat buffalo camel carp cat cheetah cobra cod "
    "coyote crab crane cricket crow deer dingo dog dolphin dove duck eagle eel elk emu "
    "falcon ferret finch fox frog gecko gibbon goat goose gopher gull hare hawk hedgehog "
    "heron horse hyena ibex ibis jackal jaguar jay kiwi koala lark lemur leopard lion lizard "
    "llama lobster lynx magpie marlin marmot marten mole moose moth mouse mule newt ocelot "
    "octopus orca osprey otter owl panda panther parrot pelican penguin pigeon puffin puma "
    "quail rabbit raccoon raven robin salmon seal shark sheep shrew skunk sloth snail "
    "sparrow spider squid stork swan tapir tiger toad trout turtle viper walrus wasp weasel "
    "whale wolf wombat wren yak zebra"
)


def propose(taken: Collection[str]) -> str:
    """A name that is not in ``taken``; a number is added when the plain ones run out."""
    for _ in range(64):
        name = f"{secrets.choice(_ADJECTIVES.split())}-{secrets.choice(_NOUNS.split())}"
        if name not in taken:
            return name
    return f"{name}-{secrets.randbelow(1_000_000)}"
