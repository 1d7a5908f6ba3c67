"""How good an explanation is: one measure a module, each with its source. Pure numpy and scipy on top of an `Engine`.

    signs           do the references agree about the sign?
    curves          does the output fall when the pixels that spoke for it go, and rise when they come?
    repeatability   does the map follow the film when it is moved a little, and survive a JPEG round trip?
    noise_floor     what does a network show that learned nothing?
    areas           where does the map stand out of that?
    truth           is it where the opacity was drawn (phantoms)?
    assess          all of it for one film, part by part

Whether a map adds up, the first thing to ask, is known since it was computed: `OutputAttribution.additivity_residual`.
"""
