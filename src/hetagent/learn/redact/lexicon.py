"""Words that tell names from other words; all lists are our own and short on purpose.

They help where a name has no other sign of being one. Recognisers of patterns and spaCy's model
find names that are in none of them.
"""

from __future__ import annotations

__all__ = [
    "AMBIGUOUS",
    "FEMALE",
    "GIVEN",
    "MALE",
    "NO_NAMES",
    "PARTICLES",
    "PLACES",
    "TITLES",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FEMALE = _words(
    """
    abigail ada adele adriana agata agnes agnieszka aisha alejandra alessandra alexandra
    alice alicia alina allison alma amalia amanda amber amelia amina amira amy ana anastasia
    andrea angela angelica anika anita anja anke ann anna annabel anne annette annika
    antonia anya asha astrid audrey ava ayesha barbara beata beatrice beatriz becky bella
    berit bernadette beth bettina bianca birgit bridget brigitte britta camila camilla
    carina carla carmen carolina caroline catalina catherine cecilia celeste celine chiamaka
    chiara chloe christina christine claire clara claudia colette constance cristina dagmar
    daniela daphne deborah delphine denise diana divya dolores donna dorothy ebru edith
    eileen elaine eleanor elena elif elisa elisabeth elise eliza elizabeth ella elsa emilia
    emily emma erika esmeralda estelle esther eva evelyn farah fatima fatma federica felicia
    fiona flavia florentina francesca franziska freya frida gabriela gabriele genevieve
    gertrud gina giovanna gisela giulia gloria greta gudrun gwen hanna hannah hanneke
    heather hedwig heidi heike helen helena helga henrietta hilda ilse imani ines ingeborg
    ingrid irena irene irina irma isabel isabella isabelle ivana jacqueline jana jane janet
    janine jasmin jasmine jeanne jennifer jenny jessica jill joan joanna jocelyn johanna
    josephine judith julia juliana juliette justyna kamala karen karin karla karolina
    katarzyna kate katharina katherine kathleen kathryn katja katrin kavita kayla keisha
    kelly kerstin khadija kimberly kirsten krystyna lakshmi lara latisha laura lauren layla
    lea leah leila lena leonie leticia lidia lily linda lisa liv livia lorena louise lucia
    lucie lucy ludmila luisa lydia lynn madeleine magdalena maja malgorzata manon manuela
    marcela margaret margarita maria mariam mariana marianne marie marija marina marion
    marisa marlene marta martha martina mary maryam matilda maya meera mei melanie melissa
    mercedes meredith mia michelle miriam molly monica monika myriam nadia nadine naomi
    natalia natalie natasha nicole nina noemi nora oksana olga olivia paola patricia paula
    pauline penelope petra pia polina priya rachel radhika ramona rania raquel rebecca
    regina renata renate rita rosa rosalie rosemary ruth sabina sabine sabrina sakura
    samantha sandra sara sarah saskia selma shreya sigrid silke silvia simone sofia sofie
    sonja sophia sophie stefanie stella stephanie susan susana susanne svetlana sylvia
    tamara tanja tatiana teresa theresa tina ulrike ursula uta ute valentina valeria vanessa
    vera veronica veronika victoria viktoria virginia wanda wendy wilhelmina xenia yasmin
    yolanda yuki yvonne zahra zainab zeynep zoe zofia zuzanna
    """
)
MALE = _words(
    """
    aaron abdul abdullah adam adrian ahmad ahmed akira alan albert alberto aleksander
    alessandro alex alexander alexandre alexei alfonso alfred ali allan alonso amir anders
    andre andreas andrei andrew andrzej andy anil anthony antoine anton antonio archibald
    arjun armando arnold arthur arturo axel barry bartosz bastian ben benedikt benjamin
    bernard bernd bilal bjorn björn bob bogdan boris brandon brian bruno bryan callum carl
    carlo carlos cedric cesar charles chris christian christoph christopher colin connor
    conor craig curtis damian daniel danny darius darren dave david dennis derek desmond
    diego dieter dimitri dimitris dirk dmitri dominic dominik donald douglas dylan eamon
    edgar eduardo edward edwin egon einar elias elliot emanuel emil emilio emre enrico
    enrique eric erich erik ernesto ernst esteban etienne eugene evan fabian fabio faisal
    farid felipe felix ferdinand fernando filip finn florian francesco francis francisco
    francois franz fred frederick frederik friedrich fritz gabriel gareth gavin geoffrey
    georg george gerald gerard gerhard giacomo gianluca gilbert giorgio giovanni giuseppe
    glenn goran gordon graham greg gregory guido guillaume guillermo gunnar gunther gustav
    hakan hamid hans harald harold harry harsh hasan hassan heinrich heinz helmut henri
    henrik henry herbert hiroshi horst howard hugo hussein ian ibrahim ignacio igor ivan ivo
    jacek jacob jacques jaime jakob jakub jamal james jamie jan javier jean jeff jeffrey
    jens jeremy jerome jerry jesper jim joachim joao joaquin joe joel johan johann johannes
    john johnny jon jonas jonathan jorge jose josef joseph joshua juan jukka julian julien
    julio jurgen justin jürgen kamal karim karl karsten kasper keith ken kenji kenneth kevin
    khalid klaus konrad kourosh krzysztof kumar kurt kwame kyle lars laurent lawrence leo
    leon leonard leonardo leonid leszek liam lorenzo louis luca lucas luigi luis lukas
    maarten magnus mahmoud malik manfred manuel marc marcel marcin marco marcos marcus marek
    mariano mario marius markus martin mateo mateusz matteo matthew matthias matthieu
    maurice mauricio maximilian mehmet michael michal michel miguel mihai mikael mike
    mikhail milan milos mohamed mohammad mohammed morten moses muhammad murat mustafa nathan
    nathaniel neil nicholas nick nicolas nigel nikhil niklas nikola nikolai noah norbert
    norman olaf oleg oliver olivier omar oscar oskar osvaldo otto owen pablo pascal patrick
    paul pavel pawel pedro pekka per pete peter petr philip philipp philippe pierre pieter
    pietro piotr rafael rafal rahul raj rajesh ralf ralph ramesh ramon randall rashid rasmus
    raul ravi raymond reinhard rene ricardo richard robert roberto rodrigo roger roland rolf
    roman ronald rory ross roy ruben rudolf rui rupert russell ryan salvatore sam samir
    samuel sanjay santiago scott sean sebastian sergei sergio seth shane siegfried simon
    sofiane soren stefan stefano stephane stephen steve steven stuart sunil suresh sven
    søren takeshi tariq ted terence theo theodore thomas thorsten tim timothy tobias todd
    tom tomas tomasz tony torsten travis trevor tristan tyler ulrich umberto uwe vadim
    valentin vicente victor vijay vikram viktor vincent vincenzo vladimir volker walter wei
    werner wilhelm william wojciech wolfgang xavier yannick yuri yusuf yves zbigniew zoltan
    """
)
_EITHER = _words(
    """
    aaliyah aarav abby abdel abena abiodun adaeze adalgisa ade adebayo adel adele adelheid
    adewale aditi aditya adjoa afonso afua agneta agostino aiden ainhoa aino aisling aitor
    akash akiko akin akosua aksel akua alasdair alba alban albrecht aldo aleksandra aleksy
    alena ales alexa alexis alfredo alhassan ali alica alistair alix aliya alois alva alvaro
    alwin ama amal amara ambre amedeo amin amit amita amparo ana anais ananya ander aneta
    angel angelo angus anh anjali ankit annamaria annegret anneli anneliese annett annick
    anselmo anwar aoife aparna april archie arlette armelle armida armin arnaud arne arno
    arnulf arrigo arun asbjorn ashley ashok asma attilio aud august aurelie aurelio austin
    autumn avery aya ayanda aydin aylin ayodele ayse aziz babatunde bailey bao baptiste
    barnaby bashir basil battista ben benedetta beniamino benito benoit berk bernhard berta
    bertie bertram bertrand beryl beth bettina bhavna bill billy birgitta bjarne blake
    blanca blanche bodil bohdan bohumil boleslaw bongani borja borje borys boyd bozena
    braulio brendan brigitte brita brona bronagh brook brooke bruna brunhilde burak burkhard
    caetano cameron camillo candela capucine carol carsten casey caterina cathal cecile
    cecily celine cem cesare cezary chandra charlie charlotte chase chelsea chiamaka chiara
    chidi chidinma chie chinedu chioma chris christa christel chukwu ciara ciaran ciro
    clarence claudio clelia clement clemente clementine clifford clive clotilde colm
    concepcion concetta consuelo corentin corinna corinne cormac cornelia corrado cosimo
    cristiano cristobal crystal cynthia cyril czeslaw dag daichi daisuke daisy daithi dakota
    dale dalia dalibor damien dana danielle danuta daphne darcy daria dario darnell darryl
    dawn dean debora declan deepa deepak deirdre demetrio deniz dermot deshawn desmond
    detlef devi devon didier diethelm dietmar dietrich dinesh dolores domingo dominique don
    donal donatella donato doreen doris dorota dorothea drew duc dudley duke dumisani dung
    dusan ebele eberhard ebuka edda edeltraud eden edgar edith edmund edna edoardo edyta
    eero efe efua egbert eila eilis eimear einari eithne eivind ekene ekkehard eleonora
    elfriede eli eliana elin elina elio elke ellinor eloise elsebeth elsie elspeth elvan
    elvira elzbieta emanuela emeka emi emile emine emmanuel emmanuelle encarna enid ennio
    enzo eoin ercole erkki ermanno ernest ernst erwin esi esme espen esra estelle ethan
    ethel ettore eugenia eugenio eulalia eunice eva evan eve evelyn ewa ezio fabiana fabien
    fabienne fabrice fabrizio fadi faith fang fares fatih fausto fayez feng fergal fergus
    fermin ferruccio fiachra filippo filiz finbar finn finnur fiorella fletcher fleur flora
    florence florencia florent fola folake folke fran franca franck franco frank frauke
    freddie frederic friederike frode funmi gabor gael gaelle gaetano gaia gale gareth
    gaspare gaston gauri gemma gene genevieve gennaro genowefa georgia gerardo gerd gerda
    gergely gerlinde gero gerold gerry ghislaine giada giang gianna gianni gideon giles
    gilles ginette ginger gino giordano gitte giuliana giuliano giuseppina gizem gladys
    glenda godfrey gonzalo gopal gottfried grace graciela graeme grainne grant graziella
    grazyna greger gregoire gregor gregorio greta griselda grit gro gry grzegorz guang
    guinevere gul gundula guri guy gwenael gwendoline gwendolyn gwyneth günter günther
    haakon hadi hai haile hala halil halina halvor hamish hamza hana hande hani hannelore
    hao harish harper harriet hartmut haruka haruki haruto hatice hazel hector hedwig hege
    heide heidrun heikki heiko heiner helene helge helle henryk hernan herta herve hester
    hien hilary hilde hildegard hina hiro hiroko hjalmar hoa holger holly hong honore honza
    hope horace hortense hua hubert huda hugues hui humphrey hung hunter huong huseyin hyun
    iain ida ifeoma ignacia ike ikenna iker ilaria ilka ilona imani imelda imogen indira
    ines inga inge inger ingo ingvild inigo innes iosif ipek ireneusz iris irja irmgard
    irmina irvine isaac isadora isatou ishaan isidro isla ismail isobel isolde istvan ivano
    iveta ivy iwona jabari jack jackie jacky jacopo jade jadwiga jamila jan janusz jarl
    jarmila jarmo jaroslav jaroslaw jasper jay jaya jeannine jemima jermaine jerome jerzy
    jette jian jiang jihoon jimin jin jing jiri jitka jiwoo jo joakim joana joaquim jocasta
    jochen jody joelle jolanta jordan jordi jorg jorgen jose josefa josette josiah josiane
    joy joyce jozef jozsef jude juergen julieta julius jun june jung juraj jutta jörg jørgen
    kaarina kacper kagiso kai kaisa kaito kalle kamau kamil karel kari karima karlheinz
    kathrin kazimierz kazuki keiko kelechi kemal kenneth kenta kerem keshia keziah khanh
    kieran killian kim kinga kiran kirsi kirsty kit kjell kjersti klara klemens knut kofi
    kojo konstantin kornelia krishna kristian kristin kristoffer krystian kumiko kunigunde
    kveta kwabena kwesi ladislav laetitia laila lalita lamar lan lance lasse laszlo latoya
    laura lauri layla lea leandro lech lee leela leen lei leif leigh lena lene lenka lennart
    leocadia leone leopold lerato leroy leslie lester leszek leyla liang libor lihua lin
    lina lindiwe lindsay ling linh lionel lise liselotte logan loic long lorna lothar lotta
    lotte lottie lou louisa lourdes loïc lubomir luc lucas lucho luciano lucien lucinda
    lucjan ludger ludivine ludovic ludovica ludwig ludwik lukasz luther lutz lwazi mabel
    macarena maciej mack madhav madison mads maeva maeve magda maha mahesh mai maija mairead
    maite majid makena makoto malachy malcolm malgorzata malin mandla manish manja mansour
    marcelle marcello marcin marek maren margaux margherita mariella marielle mariko marion
    marisa marisol marit marita mariusz marja marjorie mark marketa marlies marquis marthe
    marwan marzena masato masego massimo mathieu mathilde matias maud maureen maurizio mavis
    max maxime maximo maxine may mayumi mbali mechthild meena megumi mei meike meiling mel
    melek mercy merve meryem mette michaela michal michela michele michiko mick mieczyslaw
    mike mikkel milada mildred milena miles millicent miloslav min ming minh minho minjun
    minna minoru mira mireille mirella mirko miroslav mirta miyuki modesto mogens mohan
    mohau mona monika monique montgomery morag morgan mosi mounir mthunzi mukesh murdo
    muriel musa mwangi mylene myrtle nabil nada nadia nadja naji naledi nana nancy nandi
    nanna naoki naomi naresh nasser nat nathalie naveen nazli neha nell nermin nestor nettie
    neville nga ngoc ngozi nguyen nia niall niamh nick nicola nicoletta nieves nigella nils
    nina ning nisha nkechi nnamdi nneka nobuko noel noelle noemi nomsa noor norbert norma
    nour nuala nunzia nuri nuria nyambura nyasha obi obinna octavia octavio odette odile
    oisin okan olav oldrich ole olivia olle olu oluchi olumide oluwaseun omar ondrej onur
    onyeka oonagh ophelia orazio orhan orla ornella orson ortrud osagie osama osman oswald
    ottavio ottilie otto outi ove ozan paavo padraig page paivi palesa paloma paolo paris
    parker parvati pascale pasquale pat patience patricio patrizia patrycja pavla pearl
    pelin peng penny percival percy pernille perrine perry petra phil philippa phoebe phuong
    phyllis pia pierluigi piero pilar pina pooja poppy poul prakash pranav prasad preeti
    primrose priscilla prudence przemyslaw qiang qing quang quentin quinn radek radoslaw rae
    raffaele ragnhild raimund rainer rakesh ralph ram rami ramiro rana randi randolph
    raphael rasha ray raymond recep reed reem reese reggie reginald regis reidar reine
    reiner reinhold remi remy ren renata renate renaud rene renzo rhiannon rhoda rhys
    riccardo rich riitta rikke riley rima rina roar rob robbie robert robin rocco rochelle
    rocio roderick rodney rohan rohit roisin roksana roman romano romeo rong rory rosalind
    rosamund rosanna rosario rose rosella roselyne rosemarie roswitha rowan rowena roxanne
    ruairi ruby rudiger rufus runa russ ryo ryszard rüdiger saad sabatino sabina sacha
    sachin sade sadie saga sage said salem salim salma salvador sam sami samira sandeep
    sandor sandrine sandro sandy sanna saoirse sari sarita sasha satoshi satu saverio scott
    seamus sebastien sefu selim selina sema seojun serena serkan severine severino sevgi
    shanice shaniqua shannon shanti shawn sheila shelby shirin shirley sho shota sian sibel
    sibusiso sibyl sibylle sidney sieglinde sigmar signe sigurd silas silvana silvio simon
    simona simone sinead siobhan sipho siri sita siv siyabonga sky skyler slavka slawomir
    sneha solange soledad solomon solveig soo sooyoung sora soraya sorcha soren stan
    stanislav stanislaw stanisława stefania steinar sterling stevie stig stine storm sudha
    sue suleyman suman sunhee sunny surya susana svein sven sverre swantje swati sybil
    sydney sylvain sylvester sylvie sylwia synnove szymon tabitha tadeusz tadhg taina
    takashi takumi tamika tamsin taner tanguy tanisha tanner tarek taylor temitope tendai
    tereza tero terry tess thabo thandi thandiwe thanh thao thea thekla thelma themba
    theresa thiago thibault thierry thilo thor thora thorbjorn thuy tibor tiina tilly tilman
    timo ting titi tiziana tiziano tolga tomas tommaso tommi tomoko tone toni tony tor tora
    torben tore tove tracy trang traudel trina trine tristan trond tuan tugba tullio tumelo
    tunde turgut turid tuula tuva tuyet tyrone uche udo ugo ulf ulla ulysse uma umut una
    unathi ursel ursula urszula usha uzoma vaclav valentine valerie valerio varun vasco veit
    velma verity vernon veronique vic vidar vigdis vilde ville vinod violet virginie vishal
    vito vittoria vittorio vivian viviane vlasta vojtech vusi wade waldemar walid wallace
    waltraud wambui wangari wanjiku warwick wayne wei weiwei wen wencke wenzel weronika
    wiebke wiktor wilbur wilfred wilfried will willa willow winfried winifred winston witold
    wladyslaw wolfram xaviere xiang xiao xiaoming ximena xin xiu yaa yago yan yann yao
    yaroslav yasemin yasser yavuz yaw yeon yesenia yevgeny yifan yildiz yilmaz ying yinka
    yngve yohan yoko yong yoshiko youngho yousef youssef yuan yui yumi yusuke yuto yvette
    yvonne zachary zanele zara zdenek zdzislaw zelda zenon zhen zhi ziad zoe zofia zola
    zsofia zsuzsa zuri
    """
)
GIVEN = FEMALE | MALE | _EITHER
"""Common given names of many countries, in lower case."""

AMBIGUOUS = _words(
    """
    ada alexa alma amber april art august austin autumn ava baker bash bell berry bill bird
    bishop black bond brad brook brooks brown brush bush butler cannon carol carpenter case
    castle chance charity charlotte chase chelsea chip christian church clark claude clay
    cliff cole cook cooper cortana cross crystal daisy dale dallas dawn day dean devon dick
    don drake drew duke earl eden elixir ella eve faith felicity field fields finn fish
    fisher florence flower flowers ford forest forester fox frank freeman frost gale
    gardener gemini gene georgia ginger gloria go gold golden good grace grant green grey
    guy hall hand harmony harry hazel head heath heather hill hobbs holiday holly hope house
    hunter iris iron ivy jack jade java jay jean jersey jordan joy judge julia june kent key
    king kit kitchen knight lake lamb lance lane lang law lee leo lily lincoln lisa little
    llama long love low lucky lynch madison major march maria mark marsh martin mason max
    may meadow melody mercedes mercy mike milan miles miller molly monday moody moon moore
    moss nick noble north olive page palmer paris park parker pat patience patrick pearl
    penny pepper per perl pierce pike pond pool poole porter potter powers price python ray
    reed regina rice rich rivers rob robin rock rod rome rose ross ruby rush rust rusty sage
    sailor sales sandy savannah scott sharp shepherd short silver siri skip sky small smith
    snow spencer spring star steel stella sterling stone storm street strong sue summer
    summers sunday sunny swan swift sydney tailor taylor temple terry thorn tiffany tom
    tower town trees trinity troy turner vale van vera victor victoria viola violet virginia
    wade wagner walker ward warren washington wells west white wild will win winter wise
    wolf wood woods work young
    """
)
"""Names that are also words, places or products: one of them alone is no name."""

PLACES = _words(
    """
    africa america amsterdam asia athens australia austria bangkok barcelona beijing belgium
    berlin boston brazil britain brussels budapest cairo california canada chicago chile
    china cologne copenhagen dallas delhi denmark dresden dublin edinburgh egypt england
    europe finland florida france frankfurt geneva germany ghana greece hamburg helsinki
    hungary india indonesia ireland israel istanbul italy jakarta japan kenya korea lagos
    lima lisbon liverpool london lyon madrid malaysia manchester marseille melbourne mexico
    miami milan milano montreal moscow mumbai munich naples netherlands nigeria norway oslo
    ottawa oxford paris peru poland porto portugal prague romania rome rotterdam russia
    scotland seattle seoul shanghai singapore slovakia spain stockholm sweden switzerland
    sydney taiwan texas tokyo toronto turkey ukraine usa utrecht valencia vancouver venice
    vienna vietnam wales warsaw wien zurich zürich
    limerick lisboa lisbon marseille porto regensburg villeneuve
    """
)

_OF_PROMPTS = _words(
    """
    args argument arguments array attention attribute class config configuration constraint
    content context convert debug default detail feature file format function generate
    indicates input legacy list logs markdown mention mermaid method mode module object
    output parse path plan provide query refine requirement requirements retrieve returns
    reviewer rewrite search section select set string type value variable
    """
)
NO_NAMES = (
    PLACES
    | _OF_PROMPTS
    | _words(
        """
    a about account accounting action actions add additional address admin adresse agenda
    agent ai all also am amazon an and android angular ansible answer any api app apple apr
    are as assistant at attached attendees auf aug aus available avec avez azure bank basic
    bearer because before bei best bill bin bitte bonjour bonsoir book but buyer by call can
    card case ce cette chat cheers claude click code colleague colleagues como company con
    contact continue cordialement could create customer dans das date day days dear dec
    december dein deine delivery den department der des description details did die dies
    diese do docker does done dr each edit ein eine einen el ella email en engineering
    english error es est et every everybody everyone example excel exit extract facebook
    false feb february fill finance find folks for france frau french freundliche
    freundlichen fri friday friend friends from fuer fund für german git github gitlab gmail
    go good google got gpt grafana great gruß grüße grüßen guys haben hallo has hat have he
    headquarters hello help here herr hey hi hier hola home hour how however html http https
    i iban ich id if ihr ihre ihren il im immediately important in info input instagram
    instructions invoice is issue ist it item its ja jan january java javascript je jenkins
    jira json jul july jun june just kafka kann kein kind kindly kong kubernetes la las
    lastly le legal les let liebe lieber life linux list log login look los ma ma'am madam
    mail mais manager mar march marketing me meeting mein meine meinen meiner member mes
    message mi microsoft mijn mine minha minutes miss mistral mit model moi mon monday mr
    mrs ms muchas my nach name names need nein never new next nicht no node non none nor nos
    not note nothing notion notre nous nov november now null number numéro oct october oder
    of off office oggi oh ok okay on once one only open openai option or order other our
    output page para parcel password patient payment people per perhaps person phone
    platform please point por postgres pour pouvez power president print problem procurement
    product project prometheus prompt purchasing python que question qui quick ready receipt
    regards reply report reporter request required response result return review role sales
    salesforce salut sat saturday school script see sehr sein seller send sep sept september
    server service shall she si sie sind sir size slack so some son sono sorry spark sql st
    start state status step still stripe su subject such suite summarise summarize summary
    sun sunday support sur sure system task team teams tel tell terraform test text thank
    thanks that the their them then there therefore these they thing this those thu thursday
    ticket time title to today together tomorrow tool total translate true tue tuesday
    twitter ubuntu und unfortunately united university unknown uns unser unsere until up
    update urgent us use user using very vielen view voici von vor votre vous wait want
    warum was we wed wednesday welcome well were what whatsapp when where whether which who
    why wie will windows wir with wo word world would write y yes yesterday yet you your
    yours youtube zoom zu zum zur
    damen driver fritz herren miele requester stadtwerke reference
    """
    )
)
"""Words that begin a sentence or a heading, products and places: never a name on their own."""

PARTICLES = _words(
    """
    de da do dos das del della di du la le las los van von der den zu zum zur bin ibn al el
    af av ter ten te dela y e st st. san santa mac mc ben abu
    """
)
"""Words within a surname."""

TITLES = (
    r"Mr|Mrs|Ms|Miss|Mx|Dr|Prof(?:essor)?|Doctor|Sir|Dame|Lady|Lord|Madam|Herrn?|Frau|Fr\.|Hr\.|"
    r"Señor(?:a|ita)?|Sr|Sra|Srta|Don|Doña|Dona|Monsieur|Madame|Mademoiselle|Mme|Mlle|M\.|"
    r"Signora?|Sig|Sig\.ra|Dott|Mevrouw|mevrouw|mevr|Meneer|meneer|dhr|Pani?|Nurse|Officer|Judge|"
    r"Captain|Capt|Sgt|Sergeant|Lt|Lieutenant|Colonel|Rev(?:erend)?|Father|Sister|Brother|Uncle|"
    r"Aunt|"
    r"Auntie|Senator|Detective|Inspector|Coach|Nachbarin|Nachbar"
)
"""What stands before a surname."""
