"""What surrogates are made of: names of people, streets and domains, put together at random."""

from __future__ import annotations

from hetagent.learn.redact.letters import words

__all__ = ["DOMAINS", "FEMALE_POOL", "MALE_POOL", "STREETS", "SURNAMES"]

FEMALE_POOL = words(
    """
    Adina Aileen Albina Alessia Althea Amabel Anneke Ardith Arlene Aveline Belinda Bernice
    Bettine Bibiana Blythe Bonnie Briony Calista Camille Candice Carlotta Carmela Casilda
    Catrin Charlene Clarissa Cleo Coralie Cordelia Corina Dalila Damaris Darlene Deanna
    Delia Dinah Dorinda Drusilla Eartha Eileen Elvina Emmeline Ernestine Eudora Evadne Faye
    Fenella Fleurette Georgette Geraldine Gilda Giselle Glynis Hadley Halina Hedda Hermine
    Hollis Honora Idina Ilana Isolde Ivonne Jacinta Janelle Jessamy Jolene Jorinde Josette
    Juno Kalina Karola Katinka Kiera Kirstin Lavinia Leonora Lilith Linnea Lisbeth Lorelei
    Lucinda Luella Mabelle Maribel Marietta Maude Merle Merrill Mirabel Modesty Myra Nerissa
    Nettie Nola Noreen Odelia Ottoline Pamela Petronella Philomena Portia Ramona Rhea Romy
    Rosalba Rowan Sabrine Salome Seraphina Shelagh Sidonie Sunniva Tabea Tatum Thirza Tirza
    Ursulina Valda Verena Viveca Wilma Xanthe Yolande Zelma Zita
    """
)
MALE_POOL = words(
    """
    Abelard Adalbert Alaric Aldric Almeric Alston Ambrose Anselm Ansgar Ardal Armand Aubrey
    Auberon Balthasar Barnard Bartholomew Benno Bertil Birger Boniface Brendan Burke Cahal
    Caspian Cassius Cedrick Chadwick Clement Conrad Crispin Cuthbert Cyprian Dafydd Darian
    Davin Delmar Denzil Dorian Duncan Eamonn Edric Egmont Elmar Emeric Emlyn Enno Errol
    Evander Everett Faramond Farrell Fergus Florin Fulbert Gaius Garrick Gawain Gerwin
    Gillis Godwin Griffin Gustaf Hadrian Hallam Harkon Hartwin Hector Hendrik Heribert
    Hilarion Hobart Idris Ingram Irving Isidor Jago Jarvis Jocelyn Jolyon Jory Justus Kelvin
    Kendrick Kermit Kilian Lambert Landry Leander Leofric Linus Lorcan Lothair Lucan Lyndon
    Magnus Malte Manfried Marlon Maynard Merrick Merlin Nestor Norwin Odin Orlando Osbert
    Osric Oswin Pascoe Peregrine Quillan Radley Ragnar Ramsey Roderich Roland Rolo Rupert
    Selwyn Severin Sigurd Stellan Sylvan Talbot Thaddeus Theobald Torin Tybalt Ulric Urban
    Valerian Vaughan Virgil Waldo Wendell Wilmer Winfrid Wolfram Wystan Yorick Zebedee
    """
)
SURNAMES = words(
    """
    Abbotsford Aldershaw Alderton Amberley Ardenne Arkwright Ashbourne Ashcombe Aspinall
    Averdale Balcombe Bannister Barrowby Beckford Bellweather Berrington Birkdale Blackwell
    Bolderson Bradwell Bramhall Brightwell Brinkley Brocklehurst Buckden Burnaby Calderon
    Calloway Camberwell Carrowden Castleton Chilcott Claremont Cliffe Colborne Coldstream
    Corbridge Cotterill Cranfield Crosswell Culverton Dalrymple Danforth Darlington Deepdale
    Denholm Derwent Dovedale Draycott Dunmore Eastcote Eccleston Edgeworth Ellerby Elmhurst
    Elsworth Enfield Everley Fairburn Fallowfield Farnborough Fenwick Fernley Fieldhouse
    Foxworth Gaddesby Garfield Garraway Gatewood Glenfield Godstone Gresham Greystoke Haddon
    Hallworth Hambleton Harbord Hargrove Hartwell Haverford Hawksworth Hazelden Heathcote
    Hendry Hepworth Hexworth Highmore Hinchcliffe Holloworth Holmstead Honeywell Ibbotson
    Ingleby Ironmonger Islington Kelleway Kenworthy Kettlewell Kilbride Kimberlin Kingsley
    Kirkbride Lambton Lancaster Langford Larkin Latimer Leadbetter Lindfield Linwood
    Lockwood Longfellow Loxley Ludlow Lymington Maddox Maplesden Marchbank Marlborough
    Mayhew Melbourn Meriwether Middlemore Millward Monkton Moorcroft Mowbray Netherby
    Netherwood Newbold Northcott Nottage Oakeshott Oakley Oldfield Ormerod Osgood Overbury
    Oxenham Paddock Pendleton Penhallow Pickering Plumstead Prendergast Prestwick Quarmby
    Quenby Radcliffe Rainsford Ramsbottom Ravenhill Redfern Ridley Rockingham Rotherham
    Rowntree Ruxton Saltmarsh Sandford Saxby Scarborough Sedgwick Selwood Sherborne
    Shuttleworth Silverton Skelton Somerby Southwell Stafford Stanbury Standish Stapleton
    Starling Stockdale Stourton Strickland Summerhayes Sutcliffe Swinburne Tankersley
    Tattersall Tewkesbury Thackeray Thistlewood Thornbury Thurlow Tillotson Tolliver
    Tremayne Trowbridge Tunstall Underhill Upwood Uttoxeter Vandermeer Venables Wadsworth
    Wainwright Walberswick Walkerdine Warburton Wardlaw Wareham Waterhouse Weatherby
    Wellesley Westbrook Wetherell Wharton Whitaker Wickham Widdowson Wilberforce Willoughby
    Winslade Winterbourne Wolstenholme Woodhouse Worthington Wraxall Wycliffe Yardley
    Yelverton Youngson
    """
)
STREETS = words(
    """
    Alder Amber Anchor Aspen Badger Barley Beacon Bellflower Birch Bramble Briar Brindle
    Canary Cedar Clover Cobble Copper Coral Cowslip Cypress Dahlia Damson Dove Elder Ember
    Falcon Fennel Fern Finch Foxglove Garnet Gorse Harbour Harrier Heron Hornbeam Hyacinth
    Indigo Jasper Kestrel Kite Larch Lantern Lavender Lichen Linden Lupin Magpie Mallow
    Maple Marigold Merlin Mulberry Myrtle Nettle Nutmeg Oriole Osprey Otter Pebble Peony
    Pewter Pine Plover Poplar Primrose Quartz Quince Raven Reed Robin Rowan Saffron Sage
    Sandpiper Sorrel Spruce Starling Sycamore Tamarind Teal Thistle Thyme Tulip Umber
    Verbena Vine Wagtail Willow Yarrow
    """
)
DOMAINS = words(
    """
    amberfield anchorworks aspenline bayridge beaconhill birchmere bluegate brackenway
    bridgeford brightwater cedarpost cliffside clovermill coppergate corallane cresthaven
    crossbow daleview deepwell driftwood eastgate elmwood fairhaven fernhollow fieldstone
    firwood foxbridge glenmore goldcrest graymont greenvale harborline hawthorn hazelmere
    highmoor hillcrest hollowoak ironwood ivybridge kingsmere lakeview larkfield lindenpost
    longmeadow maplegrove marshside meadowlark millbrook mistral moorgate northfield
    oakhurst oldmill orchardway pinecrest quarryhill ravenwood redstone ridgeway riverbend
    rosemount saltmarsh sandstone seaview silverlake southport springhill stonebridge
    summerfield sunridge thornfield tidewater underwood valecrest waterford westbrook
    whitecliff wildwood willowbank windmere woodlane
    """
)
